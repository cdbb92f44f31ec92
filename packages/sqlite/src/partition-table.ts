import {
  checkMove,
  LeaseLostError,
  mergeProgress,
  noPartition,
  splitProgress,
  type Failure,
  type Fence,
  type Generation,
  type Lease,
  type Move,
  type Partition,
  type PartitionKey,
  type RangeProgress,
  type SliceProgress,
  type SliceRange,
} from '@refold/core';
import type { Statements } from './statements.js';

interface PartitionRow {
  processor: string;
  generation: number;
  firstSlice: number;
  lastSlice: number;
  position: number;
  ahead: string | null;
  token: number;
  holder: string | null;
  leaseExpiresAt: number | null;
  failure: string | null;
  crashes: number;
  attempts: string | null;
}

const PARTITION = `select processor, generation, first_slice as firstSlice, last_slice as lastSlice, position, ahead, token,
  holder, lease_expires_at as leaseExpiresAt, failure, crashes, attempts from refold_partitions`;

/** What identifies a partition in SQL; its values are those of `partitionKey`. */
const THIS_PARTITION = 'processor = ? and generation = ? and first_slice = ?';

/** Takes a lease from its holder: whatever carries the token that was is refused from now on. */
const FENCE = 'token = token + 1, holder = null, lease_expires_at = null';

/** The tables of checkpoints, leases and pauses, through one connection. */
export class PartitionTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  all(processor?: string): Partition[] {
    const sql = processor === undefined ? PARTITION : `${PARTITION} where processor = ?`;
    const rows = this.#statements
      .objects(`${sql} order by processor, generation, first_slice`)
      .all(...(processor === undefined ? [] : [processor])) as PartitionRow[];
    return rows.map(toPartition);
  }

  of({ processor, generation }: Pick<Generation, 'processor' | 'generation'>): Partition[] {
    return this.all(processor).filter((one) => one.generation === generation);
  }

  create({ processor, generation, startedAfter }: Generation, ranges: readonly SliceRange[]): void {
    const insert = this.#statements.run(
      `insert into refold_partitions (processor, generation, first_slice, last_slice, position) values (?, ?, ?, ?, ?)`,
    );
    for (const { firstSlice, lastSlice } of ranges) {
      insert.run(processor, generation, firstSlice, lastSlice, startedAfter);
    }
  }

  remove({ processor, generation }: Generation): void {
    this.#statements
      .run('delete from refold_partitions where processor = ? and generation = ?')
      .run(processor, generation);
  }

  acquire(partition: PartitionKey, holder: string, now: number, ttlMs: number): Lease | undefined {
    const row = this.#statements
      .objects(
        `update refold_partitions set token = token + 1, crashes = crashes + (holder is not null), holder = ?,
           lease_expires_at = ?
         where ${THIS_PARTITION} and (holder is null or holder = ? or lease_expires_at <= ?)
           and (processor, generation) in (select processor, generation from refold_generations where status <> 'retired')
           and processor not in (select processor from refold_pauses)
         returning last_slice as lastSlice, token, position, ahead, crashes`,
      )
      .get(holder, Math.ceil(now + ttlMs), ...partitionKey(partition), holder, now) as
      Pick<PartitionRow, 'lastSlice' | 'token' | 'position' | 'ahead' | 'crashes'> | undefined;
    const { processor, generation, firstSlice } = partition;
    return row && { processor, generation, firstSlice, holder, ...row, ahead: toAhead(row.ahead) };
  }

  /** Like every write under a lease, it happens only if the lease's token is still the newest. */
  renew(lease: Fence, expiresAt: number): boolean {
    return this.#update('lease_expires_at = ?', [Math.ceil(expiresAt)], lease, 'holder is not null');
  }

  release(lease: Fence): boolean {
    return this.#update('holder = null, lease_expires_at = null', [], lease);
  }

  recordFailure(lease: Fence, failure: Failure | undefined): boolean {
    if (failure) return this.#update('failure = ?', [JSON.stringify(failure)], lease);
    return this.#update('failure = null', [], lease, 'failure is not null');
  }

  /** False if the lease was lost or the checkpoint is not where it was taken to be. */
  advance({ lease, from, to }: Move): boolean {
    checkMove(from, to);
    if (to === from) return this.#isAt(lease, from);
    const moved = this.#statements
      .objects(
        `update refold_partitions set position = ?, crashes = 0, attempts = null,
           ahead = case when ahead is not null then
             (select nullif(json_group_array(json(value)), '[]') from json_each(ahead) where value ->> 'position' > ?) end
         where ${THIS_PARTITION} and token = ? and position = ? returning 1`,
      )
      .get(to, to, ...partitionKey(lease), lease.token, from);
    return moved !== undefined;
  }

  /** All are looked at before any is written: a bad one throws and leaves the others where they are. */
  advanceAll(moves: readonly Move[]): boolean[] {
    for (const { from, to } of moves) checkMove(from, to);
    return moves.map((move) => this.advance(move));
  }

  beginAttempt(lease: Fence, position: number): number {
    const count = this.#statements
      .values(
        `update refold_partitions set attempts = json_set(coalesce(attempts, '{}'), ?, coalesce(attempts ->> ?, 0) + 1)
         where ${THIS_PARTITION} and token = ? returning attempts ->> ?`,
      )
      .get(`$."${position}"`, `$."${position}"`, ...partitionKey(lease), lease.token, `$."${position}"`);
    if (count === undefined) throw new LeaseLostError(lease.processor, lease.token);
    return Number(count);
  }

  split(key: PartitionKey, at: number): void {
    const whole = this.#row(key);
    if (!whole) throw noPartition(key, 'where a partition begins');
    const [left, right] = splitProgress(toProgress(whole), at);
    // Both halves: what the token was good for is a range that is no more.
    const token = whole.token + 1;
    this.#remove(key);
    for (const half of [left, right]) this.#insert({ ...whole, ...stored(half), token });
  }

  merge(key: PartitionKey): void {
    const left = this.#row(key);
    if (!left) throw noPartition(key, 'where a partition begins');
    const right = this.#row({ ...key, firstSlice: left.lastSlice + 1 });
    if (!right) throw noPartition(key, 'where a partition with a right neighbour begins');
    this.#remove(left);
    this.#remove(right);
    this.#insert({
      ...left,
      ...stored(mergeProgress(toProgress(left), toProgress(right))),
      // Greater than any token that a partition with one of these slices ever had, whatever it began with.
      token: Math.max(left.token, right.token) + 1,
      failure: left.failure ?? right.failure,
      crashes: Math.max(left.crashes, right.crashes),
      attempts: mostOf(left.attempts, right.attempts),
    });
  }

  /** Takes the leases on a generation from their holders. */
  fence({ processor, generation }: Generation): void {
    this.#statements
      .run(`update refold_partitions set ${FENCE} where processor = ? and generation = ?`)
      .run(processor, generation);
  }

  setPaused(processor: string, paused: boolean, fence: boolean): void {
    const run = (sql: string): unknown => this.#statements.run(sql).run(processor);
    if (paused) {
      run('insert into refold_pauses (processor) values (?) on conflict do nothing');
      if (fence) run(`update refold_partitions set ${FENCE} where processor = ?`);
    } else {
      run('delete from refold_pauses where processor = ?');
      run('insert into refold_resumes values (?, 1) on conflict do update set times = times + 1');
      run('update refold_partitions set failure = null where processor = ? and failure is not null');
    }
  }

  resumes(): ReadonlyMap<string, number> {
    const rows = this.#statements.objects('select processor, times from refold_resumes').all();
    return new Map((rows as { processor: string; times: number }[]).map((one) => [one.processor, one.times]));
  }

  paused(): string[] {
    return this.#statements
      .values('select processor from refold_pauses order by processor')
      .all() as string[];
  }

  #isAt(lease: Fence, position: number): boolean {
    const sql = `select 1 from refold_partitions where ${THIS_PARTITION} and token = ? and position = ?`;
    return this.#statements.values(sql).get(...partitionKey(lease), lease.token, position) !== undefined;
  }

  #row(key: PartitionKey): PartitionRow | undefined {
    return this.#statements.objects(`${PARTITION} where ${THIS_PARTITION}`).get(...partitionKey(key)) as
      PartitionRow | undefined;
  }

  #remove(key: PartitionKey): void {
    this.#statements.run(`delete from refold_partitions where ${THIS_PARTITION}`).run(...partitionKey(key));
  }

  /** Adds a partition that nobody holds. */
  #insert(row: PartitionRow): void {
    this.#statements
      .run(
        `insert into refold_partitions
           (processor, generation, first_slice, last_slice, position, ahead, token, failure, crashes, attempts)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[...partitionKey(row), row.lastSlice, row.position, row.ahead],
        ...[row.token, row.failure, row.crashes, row.attempts],
      );
  }

  #update(set: string, values: readonly unknown[], lease: Fence, also = 'true'): boolean {
    const statement = this.#statements.run(
      `update refold_partitions set ${set} where ${THIS_PARTITION} and token = ? and ${also}`,
    );
    return statement.run(...values, ...partitionKey(lease), lease.token).changes === 1;
  }
}

function partitionKey({ processor, generation, firstSlice }: PartitionKey): [string, number, number] {
  return [processor, generation, firstSlice];
}

function toPartition(row: PartitionRow): Partition {
  const { processor, generation, firstSlice, lastSlice, position, token, crashes } = row;
  return {
    ...{ processor, generation, firstSlice, lastSlice, position, token, crashes },
    ahead: toAhead(row.ahead),
    holder: row.holder ?? undefined,
    leaseExpiresAt: row.leaseExpiresAt === null ? undefined : new Date(row.leaseExpiresAt),
    failure: row.failure === null ? undefined : toFailure(row.failure),
  };
}

function toFailure(json: string): Failure {
  const stored = JSON.parse(json) as Omit<Failure, 'at'> & { at: string };
  return { ...stored, at: new Date(stored.at) };
}

function toAhead(json: string | null): SliceProgress[] {
  return json === null ? [] : (JSON.parse(json) as SliceProgress[]);
}

function toProgress({ firstSlice, lastSlice, position, ahead }: PartitionRow): RangeProgress {
  return { firstSlice, lastSlice, position, ahead: toAhead(ahead) };
}

function stored({ ahead, ...range }: RangeProgress): SliceProgress & { readonly ahead: string | null } {
  return { ...range, ahead: ahead.length === 0 ? null : JSON.stringify(ahead) };
}

/** The attempts of two partitions: of each position the larger count. */
function mostOf(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  const most = JSON.parse(a) as Record<string, number>;
  for (const [position, count] of Object.entries(JSON.parse(b) as Record<string, number>)) {
    most[position] = Math.max(count, most[position] ?? 0);
  }
  return JSON.stringify(most);
}
