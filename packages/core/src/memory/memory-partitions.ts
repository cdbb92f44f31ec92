import { LeaseLostError } from '../errors.js';
import type {
  Failure,
  Fence,
  Lease,
  Move,
  Partition,
  PartitionKey,
  SliceRange,
} from '../store/processor-state.js';
import { aheadOf, checkMove, mergeProgress, noPartition, splitProgress } from '../store/slice-progress.js';
import { keyOf, MemoryTable } from './memory-table.js';

/** A partition with how often each position was begun since the checkpoint moved. */
interface StoredPartition extends Partition {
  readonly attempts: ReadonlyMap<number, number>;
}

type GenerationKey = Pick<PartitionKey, 'processor' | 'generation'>;

/** Checkpoints and leases; as a layer over others, those that a transaction sees. */
export class MemoryPartitions {
  readonly #rows: MemoryTable<StoredPartition>;

  constructor(below?: MemoryPartitions) {
    this.#rows = new MemoryTable(below ? below.#rows : undefined);
  }

  /** Writes this layer into what is below it. */
  commit(): void {
    this.#rows.commit();
  }

  all(processor?: string): Partition[] {
    return this.#rows
      .rows()
      .filter((one) => processor === undefined || one.processor === processor)
      .sort(
        (a, b) =>
          (a.processor < b.processor ? -1 : a.processor > b.processor ? 1 : 0) ||
          a.generation - b.generation ||
          a.firstSlice - b.firstSlice,
      )
      .map((one) => copyOf(one));
  }

  of({ processor, generation }: GenerationKey): Partition[] {
    return this.all(processor).filter((one) => one.generation === generation);
  }

  create({ processor, generation }: GenerationKey, ranges: readonly SliceRange[], position: number): void {
    for (const range of ranges) {
      const progress = { ...range, position, ahead: [] };
      this.#put({ processor, generation, ...progress, token: 0, crashes: 0, attempts: new Map() });
    }
  }

  remove(generation: GenerationKey): void {
    for (const partition of this.of(generation)) this.#rows.delete(partitionKey(partition));
  }

  acquire(key: PartitionKey, holder: string, now: number, ttlMs: number): Lease | undefined {
    const partition = this.#rows.get(partitionKey(key));
    if (!partition || isHeldByOther(partition, holder, now)) return undefined;
    const token = partition.token + 1;
    const crashes = partition.crashes + (partition.holder === undefined ? 0 : 1);
    this.#put({ ...partition, token, crashes, holder, leaseExpiresAt: new Date(now + ttlMs) });
    const { processor, generation, firstSlice, lastSlice, position } = partition;
    const ahead = partition.ahead.map((one) => ({ ...one }));
    return { processor, generation, firstSlice, lastSlice, holder, token, position, ahead, crashes };
  }

  renew(lease: Fence, expiresAt: number): boolean {
    const partition = this.#fenced(lease);
    if (partition?.holder === undefined) return false;
    this.#put({ ...partition, leaseExpiresAt: new Date(expiresAt) });
    return true;
  }

  release(lease: Fence): void {
    const partition = this.#fenced(lease);
    if (partition) this.#put({ ...partition, ...FREE });
  }

  recordFailure(lease: Fence, failure: Failure | undefined): void {
    const partition = this.#fenced(lease);
    if (partition) this.#put({ ...partition, failure: failure && structuredClone(failure) });
  }

  /** False if the lease was lost or the checkpoint is not where it was taken to be. */
  advance({ lease, from, to }: Move): boolean {
    checkMove(from, to);
    const partition = this.#fenced(lease);
    if (partition?.position !== from) return false;
    if (to === from) return true;
    const ahead = aheadOf(partition.ahead, to);
    this.#put({ ...partition, position: to, ahead, crashes: 0, attempts: new Map() });
    return true;
  }

  /** All are looked at before any is written: a bad one throws and leaves the others where they are. */
  advanceAll(moves: readonly Move[]): boolean[] {
    for (const { from, to } of moves) checkMove(from, to);
    return moves.map((move) => this.advance(move));
  }

  beginAttempt(lease: Fence, position: number): number {
    const partition = this.#fenced(lease);
    if (!partition) throw new LeaseLostError(lease.processor, lease.token);
    const count = (partition.attempts.get(position) ?? 0) + 1;
    this.#put({ ...partition, attempts: new Map(partition.attempts).set(position, count) });
    return count;
  }

  split(key: PartitionKey, at: number): void {
    const whole = this.#rows.get(partitionKey(key));
    if (!whole) throw noPartition(key, 'where a partition begins');
    // Both halves: what the token was good for is a range that is no more.
    const token = whole.token + 1;
    for (const half of splitProgress(whole, at)) this.#put({ ...whole, ...half, token, ...FREE });
  }

  merge(key: PartitionKey): void {
    const left = this.#rows.get(partitionKey(key));
    if (!left) throw noPartition(key, 'where a partition begins');
    const right = this.#rows.get(partitionKey({ ...key, firstSlice: left.lastSlice + 1 }));
    if (!right) throw noPartition(key, 'where a partition with a right neighbour begins');
    this.#rows.delete(partitionKey(right));
    this.#put({
      ...left,
      ...mergeProgress(left, right),
      // Greater than any token that a partition with one of these slices ever had, whatever it began with.
      token: Math.max(left.token, right.token) + 1,
      ...FREE,
      failure: left.failure ?? right.failure,
      crashes: Math.max(left.crashes, right.crashes),
      attempts: mostOf(left.attempts, right.attempts),
    });
  }

  /** Takes the leases of a processor, or of one of its generations, from their holders. */
  fence(processor: string, generation?: number): void {
    for (const one of this.#of(processor)) {
      if (generation !== undefined && one.generation !== generation) continue;
      this.#put({ ...one, token: one.token + 1, ...FREE });
    }
  }

  forgetFailures(processor: string): void {
    for (const one of this.#of(processor)) this.#put({ ...one, failure: undefined });
  }

  #of(processor: string): StoredPartition[] {
    return this.#rows.rows().filter((one) => one.processor === processor);
  }

  /** The partition of a lease, if the lease's token is still the newest. */
  #fenced(lease: Fence): StoredPartition | undefined {
    const partition = this.#rows.get(partitionKey(lease));
    return partition?.token === lease.token ? partition : undefined;
  }

  #put(partition: StoredPartition): void {
    this.#rows.set(partitionKey(partition), partition);
  }
}

const FREE = { holder: undefined, leaseExpiresAt: undefined };

/** Dates and lists can be changed by whoever holds them. */
function copyOf(stored: StoredPartition): Partition {
  const { processor, generation, firstSlice, lastSlice, position, token, holder, crashes } = stored;
  const { ahead, leaseExpiresAt, failure } = stored;
  return {
    processor,
    generation,
    firstSlice,
    lastSlice,
    position,
    ahead: ahead.map((one) => ({ ...one })),
    token,
    holder,
    leaseExpiresAt: leaseExpiresAt && new Date(leaseExpiresAt),
    failure: failure && structuredClone(failure),
    crashes,
  };
}

function isHeldByOther({ holder, leaseExpiresAt }: Partition, by: string, now: number): boolean {
  return holder !== undefined && holder !== by && (leaseExpiresAt?.getTime() ?? 0) > now;
}

function mostOf(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): Map<number, number> {
  const most = new Map(a);
  for (const [position, count] of b) most.set(position, Math.max(count, most.get(position) ?? 0));
  return most;
}

function partitionKey({ processor, generation, firstSlice }: PartitionKey): string {
  return keyOf(processor, generation, firstSlice);
}
