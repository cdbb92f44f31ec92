import { DefinitionError, InvalidArgumentError, UnsupportedError } from '../errors.js';
import { toJson } from '../store/prepare-append.js';
import type { Lease, PartitionKey, SliceRange } from '../store/processor-state.js';
import { equalRanges, furthestProgress, progressOf } from '../store/slice-progress.js';
import { unprocessedOf, type EventPlace } from '../store/unprocessed.js';
import type { Collection, Generation, LiveGeneration, Snapshot, StateStore } from '../store/state-store.js';
import { MemoryInbox } from './memory-inbox.js';
import { MemoryLetters } from './memory-letters.js';
import { MemoryPartitions } from './memory-partitions.js';
import { keyOf, MemoryTable } from './memory-table.js';
import { MemoryTimers } from './memory-timers.js';
import { MemoryWorkers } from './memory-workers.js';

type GenerationOptions = Parameters<StateStore['createGeneration']>[1];

/** A snapshot with its state as JSON, so that no reader shares objects with another. */
type StoredSnapshot = Omit<Snapshot, 'state'> & { readonly state: string };

/** Everything but the log; as a layer over another state, what a transaction sees. */
export class MemoryState {
  readonly #below: MemoryState | undefined;
  readonly #generations: MemoryTable<Generation>;
  readonly partitions: MemoryPartitions;
  readonly letters: MemoryLetters;
  readonly timers: MemoryTimers;
  readonly inbox: MemoryInbox;
  readonly workers = new MemoryWorkers();
  readonly #snapshots: MemoryTable<StoredSnapshot>;
  readonly #paused = new Set<string>();
  readonly #resumes = new Map<string, number>();
  /** What each generation inherited when it took the place of another. */
  readonly #inherited: MemoryTable<readonly EventPlace[]>;
  readonly #documents = new Map<string, MemoryTable<string>>();
  readonly #newest = new Map<string, number>();

  constructor(below?: MemoryState) {
    this.#below = below;
    this.#generations = new MemoryTable(below ? below.#generations : undefined);
    this.partitions = new MemoryPartitions(below?.partitions);
    this.letters = new MemoryLetters(below?.letters);
    this.timers = new MemoryTimers(below?.timers);
    this.inbox = new MemoryInbox(below?.inbox);
    this.#snapshots = new MemoryTable(below ? below.#snapshots : undefined);
    this.#inherited = new MemoryTable(below ? below.#inherited : undefined);
  }

  /** Writes this layer into the state below it. */
  commit(): void {
    this.#generations.commit();
    this.partitions.commit();
    this.letters.commit();
    this.timers.commit();
    this.inbox.commit();
    this.#snapshots.commit();
    this.#inherited.commit();
    for (const table of this.#documents.values()) table.commit();
  }

  generations(processor: string): Generation[] {
    return this.#generations
      .rows()
      .filter((one) => one.processor === processor)
      .sort((a, b) => a.generation - b.generation);
  }

  createGeneration(processor: string, options: GenerationOptions): Generation {
    const { version, collections, fresh = false, beside = false, shadow = false } = options;
    const ranges = equalRanges(options.partitions ?? 1);
    const all = this.generations(processor);
    const live = all.find(({ status }) => status === 'live');
    if (live?.version === version && !beside && !fresh && !shadow) return live;
    const before = all.find((one) => one.status === 'building' && one.shadow === shadow);
    if (before?.version === version && !fresh && !shadow) return before;
    this.#checkCollections(processor, collections);
    if (before) this.dropGeneration(processor, before.generation);
    const created: Generation = {
      processor,
      generation: (this.#newest.get(processor) ?? 0) + 1,
      version,
      status: live || beside || shadow ? 'building' : 'live',
      collections: Object.freeze(collections.map(({ name }) => name)),
      startedAfter: options.after ?? 0,
      shadow,
      replayed: Object.freeze([]),
    };
    this.#insert(created, ranges);
    return created;
  }

  dropGeneration(processor: string, generation: number): void {
    const found = this.#generations.get(keyOf(processor, generation));
    if (!found) return;
    if (found.status === 'live')
      throw new InvalidArgumentError('generation', generation, 'must not be the live one');
    this.#generations.delete(keyOf(processor, generation));
    for (const name of found.collections) this.#documents.delete(tableName(name, generation));
    this.partitions.remove(found);
    this.letters.removeAll(processor, generation);
    this.timers.removeAll(found);
    this.#inherited.delete(keyOf(processor, generation));
  }

  reopenGeneration(processor: string, generation: number): Generation {
    const all = this.generations(processor);
    const retired = all.find((one) => one.generation === generation && one.status === 'retired');
    if (!retired)
      throw new InvalidArgumentError('generation', generation, `must be a retired one of "${processor}"`);
    const before = all.find(({ status, shadow }) => status === 'building' && !shadow);
    if (before) this.dropGeneration(processor, before.generation);
    return this.#putGeneration({ ...retired, status: 'building' });
  }

  activate(processor: string, generation: number): void {
    const next = this.#generations.get(keyOf(processor, generation));
    if (next?.status !== 'building' || next.shadow)
      throw new InvalidArgumentError('generation', generation, `must be one of "${processor}" being built`);
    const live = this.live(processor);
    if (!live) {
      this.#putGeneration({ ...next, status: 'live' });
      return;
    }
    const done = progressOf(live.partitions);
    this.#inherited.set(
      keyOf(processor, generation),
      this.unprocessed(processor, live.generation.generation),
    );
    this.#putGeneration({ ...live.generation, status: 'retired' });
    this.partitions.fence(processor, live.generation.generation);
    const replayed = Object.freeze(furthestProgress([...live.generation.replayed, ...done]));
    this.#putGeneration({ ...next, status: 'live', replayed });
  }

  unprocessed(processor: string, generation: number): readonly EventPlace[] {
    const key = keyOf(processor, generation);
    const found = this.#generations.get(key);
    if (!found) return [];
    return unprocessedOf({
      generation: found,
      partitions: this.partitions.of(found),
      letters: this.letters.open(found).map(({ position, slice }) => ({ position, slice })),
      inherited: this.#inherited.get(key) ?? [],
    });
  }

  live(processor: string): LiveGeneration | undefined {
    const generation = this.generations(processor).find(({ status }) => status === 'live');
    return generation && { generation, partitions: this.partitions.of(generation) };
  }

  acquireLease(key: PartitionKey, holder: string, now: number, ttlMs: number): Lease | undefined {
    const { processor, generation } = key;
    if (this.#generations.get(keyOf(processor, generation))?.status === 'retired') return undefined;
    if (this.#paused.has(processor)) return undefined;
    return this.partitions.acquire(key, holder, now, ttlMs);
  }

  setPaused(processor: string, paused: boolean, fence: boolean): void {
    if (paused) this.#paused.add(processor);
    else this.#paused.delete(processor);
    if (paused && fence) this.partitions.fence(processor);
    if (paused) return;
    this.#resumes.set(processor, (this.#resumes.get(processor) ?? 0) + 1);
    this.partitions.forgetFailures(processor);
  }

  resumes(): ReadonlyMap<string, number> {
    return new Map(this.#resumes);
  }

  pausedProcessors(): string[] {
    return [...this.#paused].sort();
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

  #insert(generation: Generation, ranges: readonly SliceRange[]): void {
    const { processor, generation: number, collections, startedAfter } = generation;
    // Numbers are never used again, or a lease on a dropped generation could hold on its successor.
    this.#newest.set(processor, number);
    this.#putGeneration(generation);
    for (const name of collections) this.#documents.set(tableName(name, number), new MemoryTable());
    this.partitions.create(generation, ranges, startedAfter);
  }

  #putGeneration(generation: Generation): Generation {
    const frozen = Object.freeze(generation);
    this.#generations.set(keyOf(frozen.processor, frozen.generation), frozen);
    return frozen;
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
