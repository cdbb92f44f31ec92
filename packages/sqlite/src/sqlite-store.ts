import {
  checkPosition,
  DEFAULT_MAX_EVENT_BYTES,
  EventReader,
  InvalidArgumentError,
  prepareAppends,
  readAllRange,
  readStreamRange,
  StoreClosedError,
  systemClock,
  toJson,
  UnsupportedError,
  type AppendAllOptions,
  type AppendOptions,
  type AppendResult,
  type Clock,
  type DocumentAccess,
  type DocumentReader,
  type EventStore,
  type EventStoreSupports,
  type Generation,
  type NewEvent,
  type PreparedAppend,
  type ReadAllOptions,
  type ReadStreamOptions,
  type Snapshot,
  type StateStore,
  type StreamAppend,
} from '@refold/core';
import type Database from 'better-sqlite3';
import { ChangeFeed } from './change-feed.js';
import { tableName } from './collections.js';
import { openReader, openWriter, type Durability } from './database.js';
import { documentReader } from './document-reader.js';
import { LogAppends } from './log-appends.js';
import { LogReads } from './log-reads.js';
import { LogWrites } from './log-writes.js';
import { SqliteProcessors } from './sqlite-processors.js';
import { documentAccess, SqliteUnit } from './sqlite-unit.js';
import { StateTables, type NewGeneration } from './state-tables.js';
import { Statements } from './statements.js';
import { Writer } from './writer.js';

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
  readonly supports: EventStoreSupports = { multiStreamAppend: true, inline: true, gaplessPositions: true };

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
      withUnit: (work) => this.#withUnit(work),
      onCommit: (head) => this.#changes.advance(head),
    });
  }

  async append(
    stream: string,
    events: readonly NewEvent[],
    { expected, inline }: AppendOptions<SqliteUnit> = {},
  ): Promise<AppendResult> {
    const [result] = await this.appendAll([{ stream, events, expected }], { inline });
    if (!result) throw new UnsupportedError('appending to no stream', 'name one');
    return result;
  }

  async appendAll(
    appends: readonly StreamAppend[],
    { inline }: AppendAllOptions<SqliteUnit> = {},
  ): Promise<AppendResult[]> {
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
    return this.#writer.transaction(() => this.#withUnit(work));
  }

  async generations(processor: string): Promise<readonly Generation[]> {
    this.#check();
    return this.#readTables.generations(processor);
  }

  createGeneration(processor: string, options: NewGeneration): Promise<Generation> {
    return this.#write('createGeneration', () => this.#tables.createGeneration(processor, options));
  }

  dropGeneration(processor: string, generation: number): Promise<void> {
    return this.#write('dropGeneration', () => this.#tables.dropGeneration(processor, generation));
  }

  reopenGeneration(processor: string, generation: number): Promise<Generation> {
    return this.#write('reopenGeneration', () => this.#tables.reopenGeneration(processor, generation));
  }

  documents(collection: string): DocumentReader {
    this.#check();
    return documentReader(this.#reader, this.#readStatements, collection, () => this.#check());
  }

  documentsOf(collection: string, generation: number): Pick<DocumentAccess, 'getMany'> {
    this.#check();
    const table = tableName(collection, generation);
    const documents = documentAccess(this.#readStatements, table, () => this.#check());
    return {
      getMany: async (keys) => {
        this.#check();
        const exists = this.#readStatements.values(
          "select 1 from sqlite_schema where type = 'table' and name = ?",
        );
        return exists.get(table) === undefined ? new Map<string, unknown>() : documents.getMany(keys);
      },
    };
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
    this.#writer.checkNotNested('close');
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
    this.#writer.checkNotNested(call);
  }

  async #write<Result>(call: string, work: () => Result): Promise<Result> {
    this.#checkWrite(call);
    return this.#writer.transaction(work);
  }

  /** Appending nothing is no operation: it only looks. */
  #nothing(appends: readonly PreparedAppend[]): AppendResult[] {
    const position = this.#reads.head();
    return appends.map(({ stream }) => ({ stream, revision: this.#revision(stream), position }));
  }

  #revision(stream: string): number {
    const sql = 'select coalesce(max(revision), -1) from refold_events where stream = ?';
    return Number(this.#readStatements.values(sql).get(stream));
  }

  #withUnit<Result>(work: (unit: SqliteUnit) => Promise<Result>): Promise<Result> {
    return this.#writer.scoped((scope) =>
      work(new SqliteUnit(this.#writeStatements, this.#tables, this.#writeReads, scope)),
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
