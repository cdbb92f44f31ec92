import {
  checkPosition,
  checkStream,
  checkTruncation,
  DEFAULT_MAX_EVENT_BYTES,
  EventReader,
  ImportConflictError,
  InvalidArgumentError,
  prepareAppends,
  readAllRange,
  readStreamRange,
  runImport,
  StoreClosedError,
  systemClock,
  toJson,
  TransactionScopes,
  UnsupportedError,
  type AppendAllOptions,
  type AppendOptions,
  type AppendResult,
  type Clock,
  type DocumentReader,
  type GenerationDocuments,
  type EventStore,
  type EventStoreSupports,
  type Generation,
  type ImportChunk,
  type ImportOptions,
  type ImportResult,
  type ImportSource,
  type Indexes,
  type NewEvent,
  type PreparedAppend,
  type ReadAllOptions,
  type ReadStreamOptions,
  type Snapshot,
  type StateStore,
  type StreamAppend,
  type TruncateOptions,
} from '@refold/core';
import type Database from 'better-sqlite3';
import { ChangeFeed } from './change-feed.js';
import { checkIndexes, tableName } from './collections.js';
import { openReader, openWriter, type Durability } from './database.js';
import { documentReader } from './document-reader.js';
import { LogAppends } from './log-appends.js';
import { LogReads } from './log-reads.js';
import { importedOf, LogWrites, revisionOf } from './log-writes.js';
import { SqliteProcessors } from './sqlite-processors.js';
import { SqliteUnit } from './sqlite-unit.js';
import { StateTables, type NewGeneration } from './state-tables.js';
import { Statements } from './statements.js';
import { Writer, type SqliteScope } from './writer.js';

/** What a SQLite store promises, waits for and takes. */
export interface SqliteStoreOptions {
  /**
   * `'full'` (default): an append that has returned survives `kill -9` and power loss. `'normal'`: it survives
   * `kill -9`; a power loss may undo the last ones, never leaving a gap or half an append. Faster.
   */
  readonly durability?: Durability;
  /** How long a write waits for another process's lock before it throws StoreBusyError. Default 10,000. */
  readonly lockTimeoutMs?: number;
  /** The largest event, data and metadata as JSON. Default 1 MiB. */
  readonly maxEventBytes?: number;
  readonly clock?: Clock;
}

/**
 * Log and state in one SQLite file. Any number of callers and of processes may use the file at once. Make it with
 * `sqliteStore(file)`.
 */
export class SqliteStore extends SqliteProcessors implements EventStore<SqliteUnit>, StateStore<SqliteUnit> {
  readonly supports: EventStoreSupports = {
    multiStreamAppend: true,
    inline: true,
    transactions: true,
    imports: true,
    archiving: true,
    gaplessPositions: true,
  };

  readonly #reader: Database.Database;
  readonly #readStatements: Statements;
  readonly #reads: LogReads;
  readonly #readTables: StateTables;
  readonly #writer: Writer;
  readonly #writeStatements: Statements;
  readonly #writes: LogWrites;
  readonly #writeReads: LogReads;
  readonly #tables: StateTables;
  readonly #changes: ChangeFeed;
  readonly #appends: LogAppends;
  readonly #scopes = new TransactionScopes<SqliteScope>();
  readonly #clock: Clock;
  readonly #maxEventBytes: number;
  #closing: Promise<void> | undefined;

  /** @internal Use `sqliteStore`, which opens and checks the file. */
  constructor(
    file: string,
    connections: { readonly writer: Database.Database; readonly reader: Database.Database },
    options: Required<Pick<SqliteStoreOptions, 'lockTimeoutMs' | 'maxEventBytes' | 'clock'>>,
  ) {
    super();
    const { writer, reader } = connections;
    this.#clock = options.clock;
    this.#maxEventBytes = options.maxEventBytes;
    this.#reader = reader;
    this.#readStatements = new Statements(reader, file);
    this.#reads = new LogReads(this.#readStatements);
    this.#readTables = new StateTables(reader, this.#readStatements);
    this.#writer = new Writer(writer, file, options.lockTimeoutMs);
    this.#writeStatements = new Statements(writer, file);
    this.#writes = new LogWrites(writer, this.#writeStatements, options.clock);
    this.#writeReads = new LogReads(this.#writeStatements);
    this.#tables = new StateTables(writer, this.#writeStatements);
    this.#changes = new ChangeFeed(this.#readStatements, () => this.#reads.head());
    this.#appends = new LogAppends({
      writer: this.#writer,
      writes: this.#writes,
      withUnit: (work) => this.#scopes.run(this.#writer.scope(), (scope) => work(this.#unit(scope))),
      onCommit: (head) => this.#changes.advance(head),
    });
  }

  async append(
    stream: string,
    events: readonly NewEvent[],
    { expected, ...options }: AppendOptions<SqliteUnit> = {},
  ): Promise<AppendResult> {
    const [result] = await this.appendAll([{ stream, events, expected }], options);
    if (!result) throw new UnsupportedError('appending to no stream', 'name one');
    return result;
  }

  async appendAll(
    appends: readonly StreamAppend[],
    { inline, transaction }: AppendAllOptions<SqliteUnit> = {},
  ): Promise<AppendResult[]> {
    if (transaction) {
      const request = { appends: prepareAppends(appends, this.#maxEventBytes), inline };
      return this.#scopes.within(transaction, 'append', (scope) => this.#appends.within(scope, request));
    }
    this.#checkWrite('append');
    const prepared = prepareAppends(appends, this.#maxEventBytes);
    if (prepared.every(({ events }) => events.length === 0)) return this.#nothing(prepared);
    return this.#appends.submit({ appends: prepared, inline });
  }

  readStream(stream: string, options?: ReadStreamOptions): EventReader {
    const range = readStreamRange(stream, options);
    this.#check();
    return new EventReader(this.#reads.readStream(stream, range, () => this.#check()));
  }

  readAll(options?: ReadAllOptions): EventReader {
    const range = readAllRange(options);
    this.#check();
    return new EventReader(this.#reads.readAll(range, () => this.#check()));
  }

  async import(name: string, source: ImportSource, options?: ImportOptions): Promise<ImportResult> {
    this.#checkWrite('import');
    return runImport(name, source, options, {
      maxEventBytes: this.#maxEventBytes,
      // SQLite writes a chunk without giving the event loop a turn.
      batchSize: 5000,
      imported: async (of) => importedOf(this.#readStatements, of),
      head: () => this.head(),
      write: (chunk) => this.#import(chunk),
    });
  }

  async truncateStream(stream: string, { before }: TruncateOptions): Promise<number> {
    checkTruncation(stream, before);
    return this.#write('truncateStream', () => this.#writes.truncate(stream, before));
  }

  async archiveStream(stream: string): Promise<number> {
    checkStream(stream);
    return this.#write('archiveStream', () => this.#writes.archive(stream));
  }

  async reopenStream(stream: string): Promise<void> {
    checkStream(stream);
    await this.#write('reopenStream', () => this.#writes.reopen(stream));
  }

  async head(): Promise<number> {
    this.#check();
    return this.#reads.head();
  }

  async changes(after: number, signal?: AbortSignal): Promise<number> {
    checkPosition('after', after);
    this.#check();
    signal?.throwIfAborted();
    return this.#changes.beyond(after, signal);
  }

  async transaction<Result>(work: (unit: SqliteUnit) => Promise<Result>): Promise<Result> {
    this.#checkWrite('transaction');
    const { result, head } = await this.#writer.transaction(async () => {
      const scope = this.#writer.scope();
      const result = await this.#scopes.transaction(scope, this.#unit(scope), work);
      return { result, head: scope.head };
    });
    this.#changes.advance(head);
    return result;
  }

  async generations(processor: string): Promise<readonly Generation[]> {
    this.#check();
    return this.#readTables.generations(processor);
  }

  createGeneration(processor: string, options: NewGeneration): Promise<Generation> {
    return this.#write('createGeneration', () => {
      const created = this.#tables.createGeneration(processor, options);
      checkIndexes(this.#writeStatements, options.collections, created.generation);
      return created;
    });
  }

  dropGeneration(processor: string, generation: number): Promise<void> {
    return this.#write('dropGeneration', () => this.#tables.dropGeneration(processor, generation));
  }

  reopenGeneration(processor: string, generation: number): Promise<Generation> {
    return this.#write('reopenGeneration', () => this.#tables.reopenGeneration(processor, generation));
  }

  unprocessed(processor: string, generation: number): Promise<readonly number[]> {
    return this.look((tables) => tables.unprocessed(processor, generation).map(({ position }) => position));
  }

  documents(collection: string, indexes?: Indexes): DocumentReader {
    this.#check();
    const of = { collection, indexes };
    return documentReader(this.#reader, this.#readStatements, of, () => this.#check());
  }

  documentsOf(collection: string, generation: number): GenerationDocuments {
    this.#check();
    const of = { collection: tableName(collection, generation) };
    return documentReader(this.#reader, this.#readStatements, of, () => this.#check());
  }

  async loadSnapshot(stream: string): Promise<Snapshot | undefined> {
    this.#check();
    return this.#readTables.loadSnapshot(stream);
  }

  async saveSnapshot({ stream, revision, version, state }: Snapshot): Promise<void> {
    const json = toJson(state, `snapshot of ${stream}`);
    await this.#write('saveSnapshot', () => this.#tables.saveSnapshot(stream, revision, version, json));
  }

  async deleteSnapshot(stream: string): Promise<void> {
    await this.#write('deleteSnapshot', () => this.#tables.deleteSnapshot(stream));
  }

  /**
   * Waits for the writes that are under way, then closes the file. Closing twice is no error.
   * @throws NestedTransactionError inside a transaction of this store
   */
  async close(): Promise<void> {
    this.#scopes.checkNotNested('close');
    await (this.#closing ??= this.#close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#changes.close();
    await this.#appends.idle();
    // Before the writer: the last connection to go folds the write-ahead log into the file, which a reader cannot.
    this.#reader.close();
    await this.#writer.close();
  }

  protected async look<Result>(work: (tables: StateTables, now: number) => Result): Promise<Result> {
    this.#check();
    return work(this.#readTables, this.#clock.now());
  }

  protected change<Result>(
    call: string,
    work: (tables: StateTables, now: number) => Result,
  ): Promise<Result> {
    return this.#write(call, () => work(this.#tables, this.#clock.now()));
  }

  #check(): void {
    if (this.#closing) throw new StoreClosedError();
  }

  #checkWrite(call: string): void {
    this.#check();
    this.#scopes.checkNotNested(call);
  }

  async #write<Result>(call: string, work: () => Result): Promise<Result> {
    this.#checkWrite(call);
    return this.#writer.transaction(work);
  }

  /** Appending nothing is no operation: it only looks. */
  #nothing(appends: readonly PreparedAppend[]): AppendResult[] {
    const position = this.#reads.head();
    return appends.map(({ stream }) => ({
      stream,
      revision: revisionOf(this.#readStatements, stream),
      position,
    }));
  }

  async #import(chunk: ImportChunk): Promise<number> {
    const { name, after, items } = chunk;
    const head = await this.#write('import', () => {
      const imported = this.#writes.imported(name);
      if (imported !== after) throw new ImportConflictError(name, after, imported);
      this.#writes.setImported(name, after + items.length);
      return this.#writes.import(chunk);
    });
    this.#changes.advance(head);
    return head;
  }

  #unit(scope: SqliteScope): SqliteUnit {
    return new SqliteUnit(
      {
        statements: this.#writeStatements,
        tables: this.#tables,
        reads: this.#writeReads,
        clock: this.#clock,
      },
      scope,
    );
  }
}

/**
 * Opens a store on an SQLite file, creating it if there is none, and brings its schema up to date.
 * @throws InvalidArgumentError, CorruptDatabaseError, ReadonlyDatabaseError, DatabaseOpenError, ForeignDatabaseError,
 * NewerDatabaseError, StoreBusyError
 */
export async function sqliteStore(file: string, options: SqliteStoreOptions = {}): Promise<SqliteStore> {
  const { durability = 'full', lockTimeoutMs = 10_000, clock = systemClock } = options;
  const { maxEventBytes = DEFAULT_MAX_EVENT_BYTES } = options;
  checkOptions(file, durability, lockTimeoutMs, maxEventBytes);
  const writer = await openWriter(file, durability, lockTimeoutMs);
  try {
    const reader = openReader(file);
    return new SqliteStore(file, { writer, reader }, { lockTimeoutMs, maxEventBytes, clock });
  } catch (error) {
    writer.close();
    throw error;
  }
}

function checkOptions(file: string, durability: string, lockTimeoutMs: number, maxEventBytes: number): void {
  // SQLite trims a name, and ends it at a NUL.
  if (typeof file !== 'string' || /^\s*($|:memory:\s*$|file:)|\0/.test(file)) {
    throw new InvalidArgumentError(
      'file',
      file,
      'must be the path of a file (in memory, use memoryStore of @refold/core)',
    );
  }
  if (durability !== 'full' && durability !== 'normal') {
    throw new InvalidArgumentError('durability', durability, "must be 'full' or 'normal'");
  }
  if (!(lockTimeoutMs >= 0))
    throw new InvalidArgumentError('lockTimeoutMs', lockTimeoutMs, 'must be at least 0');
  if (!Number.isSafeInteger(maxEventBytes) || maxEventBytes < 1) {
    throw new InvalidArgumentError('maxEventBytes', maxEventBytes, 'must be a whole number from 1');
  }
}
