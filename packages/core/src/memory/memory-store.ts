import { setImmediate } from 'node:timers/promises';
import { systemClock, type Clock } from '../clock.js';
import { ImportConflictError, InvalidArgumentError, StoreClosedError } from '../errors.js';
import { ChangeSignal } from '../store/change-signal.js';
import type { Indexes } from '../store/document-query.js';
import { EventReader } from '../store/event-reader.js';
import type {
  AppendAllOptions,
  AppendOptions,
  AppendResult,
  EventStore,
  EventStoreSupports,
  ImportOptions,
  ImportResult,
  ImportSource,
  InlineHook,
  NewEvent,
  ReadAllOptions,
  ReadStreamOptions,
  StreamAppend,
  TruncateOptions,
} from '../store/event-store.js';
import { runImport, type ImportChunk } from '../store/importing.js';
import { changedIndexes, indexedFields } from '../store/indexes.js';
import { Mutex } from '../store/mutex.js';
import {
  checkStream,
  DEFAULT_MAX_EVENT_BYTES,
  prepareAppends,
  type PreparedAppend,
} from '../store/prepare-append.js';
import { TransactionScopes, type TransactionScope } from '../store/transaction-scope.js';
import { checkPosition, checkTruncation, readAllRange, readStreamRange } from '../store/read-range.js';
import type {
  Collection,
  DocumentReader,
  GenerationDocuments,
  Generation,
  Snapshot,
  StateStore,
} from '../store/state-store.js';
import { documentReader } from './memory-documents.js';
import { MemoryLog, toRecorded } from './memory-log.js';
import { MemoryProcessors } from './memory-processors.js';
import { MemoryState, tableName } from './memory-state.js';
import type { MemoryTable } from './memory-table.js';
import { MemoryUnit, type MemoryLayer } from './memory-unit.js';

/** What a memory store takes, and by which clock it writes. */
export interface MemoryStoreOptions {
  /** The largest event, data and metadata as JSON. Default 1 MiB. */
  readonly maxEventBytes?: number;
  readonly clock?: Clock;
}

/** A transaction and what it has written so far. */
interface MemoryScope extends TransactionScope {
  readonly layer: MemoryLayer;
}

/**
 * Log and state in memory, for tests and experiments: it behaves like a store on a database, and is gone with the
 * process. Make it with `memoryStore()`.
 */
export class MemoryStore extends MemoryProcessors implements EventStore<MemoryUnit>, StateStore<MemoryUnit> {
  readonly supports: EventStoreSupports = {
    multiStreamAppend: true,
    inline: true,
    transactions: true,
    imports: true,
    archiving: true,
    gaplessPositions: true,
  };

  readonly #maxEventBytes: number;
  readonly #clock: Clock;
  readonly #log: MemoryLog;
  readonly #state = new MemoryState();
  readonly #committed: MemoryLayer;
  /** How many items of each import are in the log. */
  readonly #imports = new Map<string, number>();
  /** What tables were declared to be found by. Nothing is indexed, but a change of it must be told. */
  readonly #indexes = new Map<string, string>();
  readonly #changes = new ChangeSignal();
  readonly #mutex = new Mutex();
  readonly #scopes = new TransactionScopes<MemoryScope>();
  #closed = false;

  /** @internal Use `memoryStore`. */
  constructor({ maxEventBytes, clock }: Required<MemoryStoreOptions>) {
    super();
    this.#maxEventBytes = maxEventBytes;
    this.#clock = clock;
    this.#log = new MemoryLog(clock);
    this.#committed = { log: this.#log, state: this.#state };
  }

  async append(
    stream: string,
    events: readonly NewEvent[],
    { expected, ...options }: AppendOptions<MemoryUnit> = {},
  ): Promise<AppendResult> {
    const [result] = await this.appendAll([{ stream, events, expected }], options);
    return result ?? this.#log.current(stream);
  }

  async appendAll(
    appends: readonly StreamAppend[],
    { inline, transaction }: AppendAllOptions<MemoryUnit> = {},
  ): Promise<AppendResult[]> {
    if (transaction) {
      const appended = prepareAppends(appends, this.#maxEventBytes);
      return this.#scopes.within(transaction, 'append', ({ layer }) => this.#write(layer, appended, inline));
    }
    this.#checkWrite('append');
    const prepared = prepareAppends(appends, this.#maxEventBytes);
    if (prepared.every(({ events }) => events.length === 0)) {
      return prepared.map(({ stream }) => this.#log.current(stream));
    }
    return this.#mutex.run(async () => {
      // A turn of the event loop, as any database takes: a caller that appends without a pause must not starve the others.
      await setImmediate();
      const results = await this.#write(this.#committed, prepared, inline);
      this.#changes.advance(this.#log.head);
      return results;
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

  async import(name: string, source: ImportSource, options?: ImportOptions): Promise<ImportResult> {
    this.#checkWrite('import');
    return runImport(name, source, options, {
      maxEventBytes: this.#maxEventBytes,
      batchSize: 5000,
      imported: async (of) => this.#imports.get(of) ?? 0,
      head: async () => this.#log.head,
      write: (chunk) => this.#change('import', () => this.#import(chunk)),
    });
  }

  async truncateStream(stream: string, { before }: TruncateOptions): Promise<number> {
    checkTruncation(stream, before);
    return this.#change('truncateStream', () => this.#log.archive(stream, before));
  }

  async archiveStream(stream: string): Promise<number> {
    checkStream(stream);
    return this.#change('archiveStream', () => this.#log.archive(stream));
  }

  async reopenStream(stream: string): Promise<void> {
    checkStream(stream);
    await this.#change('reopenStream', () => this.#log.reopen(stream));
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
    return this.#mutex.run(async () => {
      const { layer, commit } = this.#layerOver(this.#committed);
      const scope = { open: true, layer };
      const result = await this.#scopes.transaction(scope, new MemoryUnit(scope, layer, this.#clock), work);
      commit();
      this.#changes.advance(this.#log.head);
      return result;
    });
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

  reopenGeneration(processor: string, generation: number): Promise<Generation> {
    return this.#change('reopenGeneration', () => this.#state.reopenGeneration(processor, generation));
  }

  async unprocessed(processor: string, generation: number): Promise<readonly number[]> {
    this.#check();
    return this.#state.unprocessed(processor, generation).map(({ position }) => position);
  }

  documents(collection: string, indexes?: Indexes): DocumentReader {
    this.#check();
    const find = (): MemoryTable<string> | undefined => {
      this.#check();
      return this.#state.liveDocuments(collection);
    };
    return documentReader(find, collection, indexes);
  }

  documentsOf(collection: string, generation: number): GenerationDocuments {
    this.#check();
    const find = (): MemoryTable<string> | undefined => {
      this.#check();
      return this.#state.documents(collection, generation);
    };
    return documentReader(find, collection);
  }

  async loadSnapshot(stream: string): Promise<Snapshot | undefined> {
    this.#check();
    return this.#state.loadSnapshot(stream);
  }

  saveSnapshot(snapshot: Snapshot): Promise<void> {
    return this.#change('saveSnapshot', () => this.#state.saveSnapshot(snapshot));
  }

  deleteSnapshot(stream: string): Promise<void> {
    return this.#change('deleteSnapshot', () => this.#state.deleteSnapshot(stream));
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

  protected async look<Result>(work: (state: MemoryState, now: number) => Result): Promise<Result> {
    this.#check();
    return work(this.#state, this.#clock.now());
  }

  protected change<Result>(call: string, work: (state: MemoryState, now: number) => Result): Promise<Result> {
    return this.#change(call, () => work(this.#state, this.#clock.now()));
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

  #import(chunk: ImportChunk): number {
    const { name, after, items } = chunk;
    const imported = this.#imports.get(name) ?? 0;
    if (imported !== after) throw new ImportConflictError(name, after, imported);
    this.#log.import(chunk);
    this.#imports.set(name, after + items.length);
    this.#changes.advance(this.#log.head);
    return this.#log.head;
  }

  /** Writes appends into the log, or into what a transaction sees of it: all of them with their hook's effects, or nothing. */
  async #write(
    into: MemoryLayer,
    appends: readonly PreparedAppend[],
    inline: InlineHook<MemoryUnit> | undefined,
  ): Promise<AppendResult[]> {
    const earlier = into.log.earlierResults(appends);
    if (earlier) return earlier;
    if (!inline) return into.log.append(appends).results;
    const { layer, commit } = this.#layerOver(into);
    const { events, results } = layer.log.append(appends);
    if (events.length > 0) {
      const recorded = events.map((event) => toRecorded(event));
      const scope = { open: true, layer };
      await this.#scopes.run(scope, () => inline(recorded, new MemoryUnit(scope, layer, this.#clock)));
    }
    commit();
    return results;
  }

  #layerOver({ log, state }: MemoryLayer): { readonly layer: MemoryLayer; readonly commit: () => void } {
    const layer = { log: new MemoryLog(this.#clock, log), state: new MemoryState(state) };
    const commit = (): void => {
      layer.state.commit();
      layer.log.commit();
    };
    return { layer, commit };
  }
}

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
