import { DefinitionError, InvalidArgumentError, UnsupportedError } from '../errors.js';
import { toJson } from '../store/prepare-append.js';
import { SLICES } from '../store/slices.js';
import type {
  Collection,
  Failure,
  Generation,
  Lease,
  LiveGeneration,
  Partition,
  Snapshot,
  StateStore,
} from '../store/state-store.js';
import { MemoryTable } from './memory-table.js';

type GenerationOptions = Parameters<StateStore['createGeneration']>[1];
/** A snapshot with its state as JSON, so that no reader shares objects with another. */
type StoredSnapshot = Omit<Snapshot, 'state'> & { readonly state: string };
type PartitionKey = Pick<Partition, 'processor' | 'generation' | 'firstSlice'>;

/** Generations, partitions, documents and snapshots; as a layer over another state, those that a transaction sees. */
export class MemoryState {
  readonly #below: MemoryState | undefined;
  readonly #generations: MemoryTable<Generation>;
  readonly #partitions: MemoryTable<Partition>;
  readonly #snapshots: MemoryTable<StoredSnapshot>;
  readonly #documents = new Map<string, MemoryTable<string>>();
  readonly #newest = new Map<string, number>();

  constructor(below?: MemoryState) {
    this.#below = below;
    this.#generations = new MemoryTable(below ? below.#generations : undefined);
    this.#partitions = new MemoryTable(below ? below.#partitions : undefined);
    this.#snapshots = new MemoryTable(below ? below.#snapshots : undefined);
  }

  /** Writes this layer into the state below it. */
  commit(): void {
    this.#generations.commit();
    this.#partitions.commit();
    this.#snapshots.commit();
    for (const table of this.#documents.values()) table.commit();
  }

  generations(processor: string): Generation[] {
    return this.#generations
      .rows()
      .filter((one) => one.processor === processor)
      .sort((a, b) => a.generation - b.generation);
  }

  createGeneration(processor: string, options: GenerationOptions): Generation {
    const { version, collections, fresh = false, beside = false } = options;
    const all = this.generations(processor);
    const live = all.find(({ status }) => status === 'live');
    if (live?.version === version && !beside && !fresh) return live;
    const building = all.find(({ status }) => status === 'building');
    if (building?.version === version && !fresh) return building;
    this.#checkCollections(processor, collections);
    if (building) this.dropGeneration(processor, building.generation);
    return this.#insert({
      processor,
      generation: (this.#newest.get(processor) ?? 0) + 1,
      version,
      status: live || beside ? 'building' : 'live',
      collections: Object.freeze(collections.map(({ name }) => name)),
      startedAfter: options.after ?? 0,
    });
  }

  dropGeneration(processor: string, generation: number): void {
    const found = this.#generations.get(keyOf(processor, generation));
    if (!found) return;
    if (found.status === 'live')
      throw new InvalidArgumentError('generation', generation, 'must not be the live one');
    this.#generations.delete(keyOf(processor, generation));
    for (const name of found.collections) this.#documents.delete(tableName(name, generation));
    for (const partition of this.partitions(processor)) {
      if (partition.generation === generation) this.#partitions.delete(partitionKey(partition));
    }
  }

  activate(processor: string, generation: number): void {
    const next = this.#generations.get(keyOf(processor, generation));
    if (next?.status !== 'building')
      throw new InvalidArgumentError('generation', generation, `must be one of "${processor}" being built`);
    const live = this.generations(processor).find(({ status }) => status === 'live');
    if (live) this.#retire(live);
    this.#generations.set(keyOf(processor, generation), Object.freeze({ ...next, status: 'live' }));
  }

  live(processor: string): LiveGeneration | undefined {
    const generation = this.generations(processor).find(({ status }) => status === 'live');
    return generation && { generation, partitions: this.#partitionsOf(generation) };
  }

  partitions(processor?: string): Partition[] {
    return this.#partitions
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

  acquireLease(key: PartitionKey, holder: string, now: number, ttlMs: number): Lease | undefined {
    const partition = this.#partitions.get(partitionKey(key));
    if (!partition || this.#isRetired(partition) || isHeldByOther(partition, holder, now)) return undefined;
    const token = partition.token + 1;
    this.#put({ ...partition, token, holder, leaseExpiresAt: new Date(now + ttlMs) });
    const { processor, generation, firstSlice, position } = partition;
    return { processor, generation, firstSlice, holder, token, position };
  }

  renewLease(lease: Lease, expiresAt: number): boolean {
    const partition = this.#fenced(lease);
    if (partition?.holder === undefined) return false;
    this.#put({ ...partition, leaseExpiresAt: new Date(expiresAt) });
    return true;
  }

  releaseLease(lease: Lease): void {
    const partition = this.#fenced(lease);
    if (partition) this.#put({ ...partition, holder: undefined, leaseExpiresAt: undefined });
  }

  recordFailure(lease: Lease, failure: Failure | undefined): void {
    const partition = this.#fenced(lease);
    if (partition) this.#put({ ...partition, failure: failure && structuredClone(failure) });
  }

  /** False if the lease was lost or the checkpoint is not where it was taken to be. */
  advance(lease: Lease, from: number, to: number): boolean {
    const partition = this.#fenced(lease);
    if (partition?.position !== from) return false;
    this.#put({ ...partition, position: to });
    return true;
  }

  /** The documents of one generation; undefined if it has no such collection. */
  documents(collection: string, generation: number): MemoryTable<string> | undefined {
    const name = tableName(collection, generation);
    const own = this.#documents.get(name);
    if (own || !this.#below) return own;
    const below = this.#below.documents(collection, generation);
    if (!below) return undefined;
    const layer = new MemoryTable(below);
    this.#documents.set(name, layer);
    return layer;
  }

  /** The documents that readers of a collection see. */
  liveDocuments(collection: string): MemoryTable<string> | undefined {
    const live = this.#generations
      .rows()
      .find(({ status, collections }) => status === 'live' && collections.includes(collection));
    return live && this.documents(collection, live.generation);
  }

  loadSnapshot(stream: string): Snapshot | undefined {
    const stored = this.#snapshots.get(stream);
    return stored && { ...stored, state: JSON.parse(stored.state) as unknown };
  }

  /** @throws SerializationError */
  saveSnapshot({ stream, revision, version, state }: Snapshot): void {
    const json = toJson(state, `snapshot of ${stream}`);
    const stored = this.#snapshots.get(stream);
    if (stored?.version === version && stored.revision > revision) return;
    this.#snapshots.set(stream, { stream, revision, version, state: json });
  }

  deleteSnapshot(stream: string): void {
    this.#snapshots.delete(stream);
  }

  #insert(created: Generation): Generation {
    const generation = Object.freeze(created);
    const { processor, generation: number, startedAfter } = generation;
    // Numbers are never used again, or a lease on a dropped generation could hold on its successor.
    this.#newest.set(processor, number);
    this.#generations.set(keyOf(processor, number), generation);
    for (const name of generation.collections)
      this.#documents.set(tableName(name, number), new MemoryTable());
    this.#put({
      processor,
      generation: number,
      firstSlice: 0,
      lastSlice: SLICES - 1,
      position: startedAfter,
      token: 0,
    });
    return generation;
  }

  #retire(live: Generation): void {
    this.#generations.set(
      keyOf(live.processor, live.generation),
      Object.freeze({ ...live, status: 'retired' }),
    );
    for (const partition of this.#partitionsOf(live)) {
      const token = partition.token + 1;
      this.#put({ ...partition, token, holder: undefined, leaseExpiresAt: undefined });
    }
  }

  #partitionsOf({ processor, generation }: Generation): Partition[] {
    return this.partitions(processor).filter((one) => one.generation === generation);
  }

  #isRetired({ processor, generation }: Partition): boolean {
    return this.#generations.get(keyOf(processor, generation))?.status === 'retired';
  }

  /** The partition of a lease, if the lease's token is still the newest. */
  #fenced(lease: Lease): Partition | undefined {
    const partition = this.#partitions.get(partitionKey(lease));
    return partition?.token === lease.token ? partition : undefined;
  }

  #put(partition: Partition): void {
    this.#partitions.set(partitionKey(partition), partition);
  }

  #checkCollections(processor: string, collections: readonly Collection[]): void {
    for (const { name, kind } of collections) {
      if (kind === 'table') {
        throw new UnsupportedError(`tables ("${name}")`, 'use documents here, or a store with SQL');
      }
      const other = this.#generations
        .rows()
        .find((one) => one.processor !== processor && one.collections.includes(name));
      if (other) {
        throw new DefinitionError(
          `Read model "${name}"`,
          `processor "${other.processor}" has one of that name already`,
        );
      }
    }
  }
}

/** The name of a generation's table. */
export function tableName(collection: string, generation: number): string {
  return `${collection}__${generation}`;
}

/** Dates can be changed by whoever holds them. */
function copyOf(partition: Partition): Partition {
  const { leaseExpiresAt, failure } = partition;
  return {
    ...partition,
    leaseExpiresAt: leaseExpiresAt && new Date(leaseExpiresAt),
    failure: failure && structuredClone(failure),
  };
}

function isHeldByOther({ holder, leaseExpiresAt }: Partition, by: string, now: number): boolean {
  return holder !== undefined && holder !== by && (leaseExpiresAt?.getTime() ?? 0) > now;
}

function keyOf(...parts: readonly (string | number)[]): string {
  return JSON.stringify(parts);
}

function partitionKey({ processor, generation, firstSlice }: PartitionKey): string {
  return keyOf(processor, generation, firstSlice);
}
