import { setImmediate } from 'node:timers/promises';
import { systemClock, type Clock } from '../clock.js';
import { InvalidArgumentError, StoreClosedError } from '../errors.js';
import { ChangeSignal } from '../store/change-signal.js';
import type { Indexes } from '../store/document-query.js';
import { EventReader } from '../store/event-reader.js';
import type {
  AppendAllOptions,
  AppendOptions,
  AppendResult,
  EventStore,
  EventStoreSupports,
  InlineHook,
  NewEvent,
  ReadAllOptions,
  ReadStreamOptions,
  StreamAppend,
} from '../store/event-store.js';
import { changedIndexes, indexedFields } from '../store/indexes.js';
import { Mutex } from '../store/mutex.js';
import {
  DEFAULT_MAX_EVENT_BYTES,
  prepareAppends,
  toJson,
  type PreparedAppend,
} from '../store/prepare-append.js';
import { TransactionScopes } from '../store/transaction-scope.js';
import { checkPosition, readAllRange, readStreamRange } from '../store/read-range.js';
import type {
  Collection,
  DocumentAccess,
  DocumentReader,
  Failure,
  Generation,
  Lease,
  Partition,
  Snapshot,
  StateStore,
} from '../store/state-store.js';
import { committedDocuments, documentReader } from './memory-documents.js';
import { MemoryLog, toRecorded, type StagedAppends } from './memory-log.js';
import { MemoryState, tableName } from './memory-state.js';
import type { MemoryTable } from './memory-table.js';
import { MemoryUnit } from './memory-unit.js';

/** What a memory store takes, and by which clock it writes. */
export interface MemoryStoreOptions {
  /** The largest event, data and metadata as JSON. Default 1 MiB. */
  readonly maxEventBytes?: number;
  readonly clock?: Clock;
}

type StoredSnapshot = Omit<Snapshot, 'state'> & { readonly state: string };

/**
 * Log and state in memory, for tests and experiments: it behaves like a store on a database, and is gone with the
 * process. Make it with `memoryStore()`.
 */
export class MemoryStore implements EventStore<MemoryUnit>, StateStore<MemoryUnit> {
  readonly supports: EventStoreSupports = { multiStreamAppend: true, inline: true, gaplessPositions: true };

  readonly #maxEventBytes: number;
  readonly #clock: Clock;
  readonly #log: MemoryLog;
  readonly #state = new MemoryState();
  /** What tables were declared to be found by. Nothing is indexed, but a change of it must be told. */
  readonly #indexes = new Map<string, string>();
  readonly #snapshots = new Map<string, StoredSnapshot>();
  readonly #changes = new ChangeSignal();
  readonly #mutex = new Mutex();
  readonly #scopes = new TransactionScopes();
  #closed = false;

  /** @internal Use `memoryStore`. */
  constructor({ maxEventBytes, clock }: Required<MemoryStoreOptions>) {
    this.#maxEventBytes = maxEventBytes;
    this.#clock = clock;
    this.#log = new MemoryLog(clock);
  }

  async append(
    stream: string,
    events: readonly NewEvent[],
    { expected, inline }: AppendOptions<MemoryUnit> = {},
  ): Promise<AppendResult> {
    const [result] = await this.appendAll([{ stream, events, expected }], { inline });
    return result ?? this.#log.current(stream);
  }

  async appendAll(
    appends: readonly StreamAppend[],
    { inline }: AppendAllOptions<MemoryUnit> = {},
  ): Promise<AppendResult[]> {
    this.#checkWrite('append');
    const prepared = prepareAppends(appends, this.#maxEventBytes);
    if (prepared.every(({ events }) => events.length === 0)) {
      return prepared.map(({ stream }) => this.#log.current(stream));
    }
    return this.#mutex.run(async () => {
      // A turn of the event loop, as any database takes: a caller that appends without a pause must not starve the others.
      await setImmediate();
      return this.#write(prepared, inline);
    });
  }

  readStream(stream: string, options?: ReadStreamOptions): EventReader {
    const range = readStreamRange(stream, options);
    this.#check();
    return new EventReader(this.#log.readStream(stream, range, () => this.#check()));
  }

  readAll(options?: ReadAllOptions): EventReader {
    const range = readAllRange(options);
    this.#check();
    return new EventReader(this.#log.readAll(range, () => this.#check()));
  }

  async head(): Promise<number> {
    this.#check();
    return this.#log.head;
  }

  async changes(after: number, signal?: AbortSignal): Promise<number> {
    checkPosition('after', after);
    return this.#changes.beyond(after, signal);
  }

  async transaction<Result>(work: (unit: MemoryUnit) => Promise<Result>): Promise<Result> {
    this.#checkWrite('transaction');
    return this.#mutex.run(() => this.#withUnit(NOTHING_STAGED, work));
  }

  async generations(processor: string): Promise<readonly Generation[]> {
    this.#check();
    return this.#state.generations(processor);
  }

  createGeneration(
    processor: string,
    options: Parameters<StateStore['createGeneration']>[1],
  ): Promise<Generation> {
    return this.#change('createGeneration', () => {
      const declared = options.collections.map(declaredIndexes);
      const created = this.#state.createGeneration(processor, options);
      options.collections.forEach(({ name }, index) => {
        const table = tableName(name, created.generation);
        const built = this.#indexes.get(table) ?? declared[index] ?? '';
        if (built !== declared[index]) throw changedIndexes(name);
        this.#indexes.set(table, built);
      });
      return created;
    });
  }

  dropGeneration(processor: string, generation: number): Promise<void> {
    return this.#change('dropGeneration', () => this.#state.dropGeneration(processor, generation));
  }

  async partitions(processor?: string): Promise<readonly Partition[]> {
    this.#check();
    return this.#state.partitions(processor);
  }

  acquireLease(
    partition: Pick<Partition, 'processor' | 'generation' | 'firstSlice'>,
    { holder, ttlMs }: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined> {
    return this.#change('acquireLease', () =>
      this.#state.acquireLease(partition, holder, this.#clock.now(), ttlMs),
    );
  }

  renewLeases(leases: readonly Lease[], ttlMs: number): Promise<readonly boolean[]> {
    return this.#change('renewLeases', () =>
      leases.map((lease) => this.#state.renewLease(lease, this.#clock.now() + ttlMs)),
    );
  }

  releaseLease(lease: Lease): Promise<void> {
    return this.#change('releaseLease', () => this.#state.releaseLease(lease));
  }

  recordFailure(lease: Lease, failure: Failure | undefined): Promise<void> {
    return this.#change('recordFailure', () => this.#state.recordFailure(lease, failure));
  }

  documents(collection: string, indexes?: Indexes): DocumentReader {
    this.#check();
    const find = (): MemoryTable<string> | undefined => {
      this.#check();
      return this.#state.liveDocuments(collection);
    };
    return documentReader(find, collection, indexes);
  }

  documentsOf(collection: string, generation: number): Pick<DocumentAccess, 'getMany'> {
    this.#check();
    return committedDocuments(() => {
      this.#check();
      return this.#state.documents(collection, generation);
    });
  }

  async loadSnapshot(stream: string): Promise<Snapshot | undefined> {
    this.#check();
    const stored = this.#snapshots.get(stream);
    return stored && { ...stored, state: JSON.parse(stored.state) as unknown };
  }

  async saveSnapshot({ stream, revision, version, state }: Snapshot): Promise<void> {
    const json = toJson(state, `snapshot of ${stream}`);
    await this.#change('saveSnapshot', () => {
      const stored = this.#snapshots.get(stream);
      if (stored?.version === version && stored.revision > revision) return;
      this.#snapshots.set(stream, { stream, revision, version, state: json });
    });
  }

  async deleteSnapshot(stream: string): Promise<void> {
    await this.#change('deleteSnapshot', () => this.#snapshots.delete(stream));
  }

  /** Waits for the writes that are under way. Closing twice is no error. */
  async close(): Promise<void> {
    this.#scopes.checkNotNested('close');
    this.#closed = true;
    this.#changes.close();
    await this.#mutex.run(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #check(): void {
    if (this.#closed) throw new StoreClosedError();
  }

  #checkWrite(call: string): void {
    this.#check();
    this.#scopes.checkNotNested(call);
  }

  async #change<Result>(call: string, work: () => Result): Promise<Result> {
    this.#checkWrite(call);
    return this.#mutex.run(work);
  }

  async #write(
    appends: readonly PreparedAppend[],
    inline: InlineHook<MemoryUnit> | undefined,
  ): Promise<AppendResult[]> {
    const earlier = this.#log.earlierResults(appends);
    if (earlier) return earlier;
    const staged = this.#log.stage(appends);
    if (inline) {
      const events = staged.events.map((event) => toRecorded(event));
      await this.#withUnit(staged, (unit) => inline(events, unit));
    } else {
      this.#commit(staged);
    }
    return staged.results;
  }

  /** Runs a callback on a layer over the state; when it has ended well, that and what is staged are committed at once. */
  async #withUnit<Result>(
    staged: StagedAppends,
    work: (unit: MemoryUnit) => Promise<Result>,
  ): Promise<Result> {
    const layer = new MemoryState(this.#state);
    const result = await this.#scopes.run((scope) =>
      work(new MemoryUnit(scope, layer, { committed: this.#log, staged: staged.events })),
    );
    layer.commit();
    this.#commit(staged);
    return result;
  }

  #commit(staged: StagedAppends): void {
    this.#log.commit(staged);
    this.#changes.advance(this.#log.head);
  }
}

const NOTHING_STAGED: StagedAppends = { events: [], results: [] };

function declaredIndexes({ name, indexes }: Collection): string {
  const fields = indexedFields(`Read model "${name}"`, indexes);
  return fields
    .map((field) => `${field.name} ${field.type}`)
    .sort()
    .join();
}

/** Makes an empty store in memory. @throws InvalidArgumentError */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  const { maxEventBytes = DEFAULT_MAX_EVENT_BYTES, clock = systemClock } = options;
  if (!Number.isSafeInteger(maxEventBytes) || maxEventBytes < 1) {
    throw new InvalidArgumentError('maxEventBytes', maxEventBytes, 'must be a whole number from 1');
  }
  return new MemoryStore({ maxEventBytes, clock });
}
