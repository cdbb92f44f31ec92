import {
  checkPosition,
  checkStream,
  checkTruncation,
  consoleLogger,
  DEFAULT_MAX_EVENT_BYTES,
  EventReader,
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
  type AppendResult,
  type DocumentReader,
  type GenerationDocuments,
  type EventStore,
  type EventStoreSupports,
  type ExpectedRevision,
  type Generation,
  type Indexes,
  type ImportOptions,
  type ImportResult,
  type ImportSource,
  type InlineHook,
  type LockHolder,
  type NewEvent,
  type PreparedAppend,
  type ReadAllOptions,
  type ReadStreamOptions,
  type Snapshot,
  type StateStore,
  type StateUnit,
  type StreamAppend,
  type TransactionScope,
  type TruncateOptions,
} from '@refold/core';
import type postgres from 'postgres';
import { Appender } from './appender.js';
import { ChangeFeed } from './change-feed.js';
import { checkIndexes, tableName } from './collections.js';
import { explained, query, translate, type Database, type Runner } from './connection.js';
import { documentReader } from './documents.js';
import { Importer } from './importer.js';
import { LogReads } from './log-reads.js';
import { LogWrites } from './log-writes.js';
import { checkMigrated, migrate } from './migrations.js';
import { checkOptions, withoutUndefined, type PostgresStoreOptions } from './options.js';
import { PostgresProcessors } from './postgres-processors.js';
import { PostgresUnit } from './postgres-unit.js';
import { Schema } from './schema.js';
import { SessionPool } from './session-pool.js';
import { clientOptions, type ClientOptions } from './session.js';
import { StateTables, type NewGeneration } from './state-tables.js';

/** A transaction in which an append can take part: a unit of the store, or a transaction of the `postgres` client. */
export type PostgresTransaction = StateUnit | postgres.TransactionSql;

/** Options of `appendAll`. */
export interface PostgresAppendAllOptions extends Omit<AppendAllOptions<PostgresUnit>, 'transaction'> {
  /**
   * Append inside this transaction, together with whatever else it does. It holds up all other appends until it ends. Of the
   * client's transactions, those of isolation `read committed`.
   */
  readonly transaction?: PostgresTransaction;
}

/** Options of `append`. */
export interface PostgresAppendOptions extends PostgresAppendAllOptions {
  /** Default `'any'`. */
  readonly expected?: ExpectedRevision;
}

/** A transaction of the store's own. */
interface PostgresScope extends TransactionScope {
  /** The end of the log after the last append inside it. */
  head: number;
}

/** Everything a store is made of. */
interface Parts {
  readonly sql: SessionPool;
  readonly schema: Schema;
  readonly listen: ClientOptions | undefined;
  readonly options: Required<Omit<PostgresStoreOptions, 'schema' | 'migrate' | 'listen'>>;
}

/**
 * Log and state in one schema of a PostgreSQL database. Any number of callers, processes and machines may use it at
 * once. Make it with `postgresStore`.
 */
export class PostgresStore
  extends PostgresProcessors
  implements EventStore<PostgresUnit>, StateStore<PostgresUnit>
{
  readonly supports: EventStoreSupports = {
    multiStreamAppend: true,
    inline: true,
    transactions: true,
    imports: true,
    archiving: true,
    gaplessPositions: true,
  };

  readonly #parts: Parts;
  readonly #sql: SessionPool;
  readonly #schema: Schema;
  readonly #writes: LogWrites;
  readonly #reads: LogReads;
  readonly #tables: StateTables;
  readonly #changes: ChangeFeed;
  readonly #appender: Appender;
  readonly #scopes = new TransactionScopes<PostgresScope>();
  /** What `close` waits for, beside appends. */
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  /** @internal Use `postgresStore`, which checks the database. */
  constructor(parts: Parts) {
    super();
    const { sql, schema, listen, options } = parts;
    this.#parts = parts;
    this.#sql = sql;
    this.#schema = schema;
    this.#writes = new LogWrites(schema, options);
    this.#reads = new LogReads(schema);
    this.#tables = new StateTables(schema);
    this.#changes = new ChangeFeed({
      schema,
      listen,
      pollMs: options.pollMs,
      head: () => this.#reads.head(sql),
      logger: options.logger,
    });
    this.#appender = new Appender({
      ...options,
      sql,
      writes: this.#writes,
      runInline: (transaction, work) => {
        const scope = { open: true, head: 0 };
        return this.#scopes.run(scope, () => work(this.#unit(transaction, scope)));
      },
      lockHolders: (runner) => this.#lockHolders(runner),
      onCommit: (head) => this.#changes.advance(head),
    });
  }

  async append(
    stream: string,
    events: readonly NewEvent[],
    { expected, ...options }: PostgresAppendOptions = {},
  ): Promise<AppendResult> {
    const [result] = await this.appendAll([{ stream, events, expected }], options);
    if (!result) throw new UnsupportedError('appending to no stream', 'name one');
    return result;
  }

  async appendAll(
    appends: readonly StreamAppend[],
    { inline, transaction }: PostgresAppendAllOptions = {},
  ): Promise<AppendResult[]> {
    if (transaction) return this.#appendWithin(transaction, appends, inline);
    this.#checkWrite('append');
    const prepared = prepareAppends(appends, this.#parts.options.maxEventBytes);
    if (prepared.some(({ events }) => events.length > 0)) {
      return this.#appender.submit({ appends: prepared, inline });
    }
    return this.#read(() => this.#nothing(this.#sql, prepared));
  }

  readStream(stream: string, options?: ReadStreamOptions): EventReader {
    const range = readStreamRange(stream, options);
    this.#check();
    return new EventReader(this.#reads.readStream(this.#sql, stream, range, () => this.#check()));
  }

  readAll(options?: ReadAllOptions): EventReader {
    const range = readAllRange(options);
    this.#check();
    return new EventReader(this.#reads.readAll(this.#sql, range, () => this.#check()));
  }

  async import(name: string, source: ImportSource, options?: ImportOptions): Promise<ImportResult> {
    this.#checkWrite('import');
    const importer = new Importer(this.#schema, this.#parts.options);
    return runImport(name, source, options, {
      maxEventBytes: this.#parts.options.maxEventBytes,
      // So many that the sync of a commit takes a small part of the time.
      batchSize: 20_000,
      imported: (of) => this.#read(() => importer.imported(this.#sql, of)),
      head: () => this.head(),
      write: async (chunk) => {
        const head = await this.#statement('import', () => importer.write(this.#sql, chunk));
        this.#changes.advance(head);
        return head;
      },
    });
  }

  async truncateStream(stream: string, { before }: TruncateOptions): Promise<number> {
    checkTruncation(stream, before);
    return this.#write('truncateStream', (sql) => this.#writes.archive(sql, stream, before));
  }

  async archiveStream(stream: string): Promise<number> {
    checkStream(stream);
    return this.#write('archiveStream', (sql) => this.#writes.archive(sql, stream, null));
  }

  async reopenStream(stream: string): Promise<void> {
    checkStream(stream);
    await this.#write('reopenStream', (sql) => this.#writes.reopen(sql, stream));
  }

  head(): Promise<number> {
    return this.#read(() => this.#reads.head(this.#sql));
  }

  async changes(after: number, signal?: AbortSignal): Promise<number> {
    checkPosition('after', after);
    this.#check();
    signal?.throwIfAborted();
    return this.#changes.beyond(after, signal);
  }

  /** @throws StoreUnavailableError when the connection broke: then it is not known whether it was committed */
  async transaction<Result>(work: (unit: PostgresUnit) => Promise<Result>): Promise<Result> {
    const scope = { open: true, head: 0 };
    const result = await this.#write('transaction', (transaction) =>
      this.#scopes.transaction(scope, this.#unit(transaction, scope), work),
    );
    this.#changes.advance(scope.head);
    return result;
  }

  generations(processor: string): Promise<readonly Generation[]> {
    return this.#read(() => this.#tables.generations(this.#sql, processor));
  }

  createGeneration(processor: string, options: NewGeneration): Promise<Generation> {
    return this.#write('createGeneration', async (transaction) => {
      const created = await this.#tables.createGeneration(transaction, processor, options);
      await checkIndexes(transaction, this.#schema, options.collections, created.generation);
      return created;
    });
  }

  dropGeneration(processor: string, generation: number): Promise<void> {
    return this.#write('dropGeneration', (transaction) =>
      this.#tables.dropGeneration(transaction, processor, generation),
    );
  }

  reopenGeneration(processor: string, generation: number): Promise<Generation> {
    return this.#write('reopenGeneration', (transaction) =>
      this.#tables.reopenGeneration(transaction, processor, generation),
    );
  }

  unprocessed(processor: string, generation: number): Promise<readonly number[]> {
    return this.#read(() => this.#tables.unprocessed(this.#sql, processor, generation));
  }

  documents(collection: string, indexes?: Indexes): DocumentReader {
    this.#check();
    const of = { collection, view: this.#schema.of(collection), indexes };
    return documentReader(this.#sql, of, () => this.#check());
  }

  documentsOf(collection: string, generation: number): GenerationDocuments {
    this.#check();
    const of = { collection, view: tableName(this.#schema, collection, generation) };
    return documentReader(this.#sql, of, () => this.#check());
  }

  loadSnapshot(stream: string): Promise<Snapshot | undefined> {
    return this.#read(() => this.#tables.loadSnapshot(this.#sql, stream));
  }

  async saveSnapshot({ state, ...snapshot }: Snapshot): Promise<void> {
    const json = toJson(state, `snapshot of ${snapshot.stream}`);
    await this.#statement('saveSnapshot', () => this.#tables.saveSnapshot(this.#sql, snapshot, json));
  }

  deleteSnapshot(stream: string): Promise<void> {
    return this.#statement('deleteSnapshot', () => this.#tables.deleteSnapshot(this.#sql, stream));
  }

  /** Whose transactions hold up appends right now: in the order of their beginning, empty most of the time. */
  lockHolders(): Promise<LockHolder[]> {
    return this.#read(() => this.#lockHolders(this.#sql));
  }

  /** Of another role's connections, a role without pg_read_all_stats sees neither times nor states. */
  #lockHolders(runner: Runner): Promise<LockHolder[]> {
    return query<LockHolder>(
      runner,
      `select a.pid, coalesce(a.application_name, '') as application, coalesce(a.xact_start, clock_timestamp()) as since,
           coalesce(a.state, 'hidden from this role') as state, coalesce(a.query, '') as statement
         from pg_locks l join pg_stat_activity a using (pid)
         where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = 1382377071
           and l.database = (select oid from pg_database where datname = current_database())
           and l.objid::bigint = ($1::regclass::oid::bigint - 2147483648) & 4294967295
         order by a.xact_start`,
      [this.#schema.of('events')],
    );
  }

  /**
   * Waits for the writes that are under way, then closes the connections that the store has opened. Closing twice is no
   * error.
   */
  async close(): Promise<void> {
    this.#scopes.checkNotNested('close');
    await (this.#closed ??= this.#close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#appender.idle();
    await Promise.allSettled(this.#running);
    await this.#changes.close();
    await this.#sql.end();
  }

  protected look<Result>(work: (tables: StateTables, runner: Runner) => Promise<Result>): Promise<Result> {
    return this.#read(() => work(this.#tables, this.#sql));
  }

  protected change<Result>(
    call: string,
    work: (tables: StateTables, runner: Runner) => Promise<Result>,
  ): Promise<Result> {
    return this.#statement(call, () => work(this.#tables, this.#sql));
  }

  protected changeTogether<Result>(
    call: string,
    work: (tables: StateTables, transaction: postgres.TransactionSql) => Promise<Result>,
  ): Promise<Result> {
    return this.#write(call, (transaction) => work(this.#tables, transaction));
  }

  #check(): void {
    if (this.#closed) throw new StoreClosedError();
  }

  #checkWrite(call: string): void {
    this.#check();
    this.#scopes.checkNotNested(call);
  }

  async #read<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#check();
    try {
      return await work();
    } catch (error) {
      throw translate(error, 'a read');
    }
  }

  /** One statement that writes. */
  async #statement<Result>(call: string, work: () => Promise<Result>): Promise<Result> {
    this.#checkWrite(call);
    return this.#tracked(call, work());
  }

  /** A transaction of its own. */
  async #write<Result>(
    call: string,
    work: (transaction: postgres.TransactionSql) => Promise<Result>,
  ): Promise<Result> {
    this.#checkWrite(call);
    return this.#tracked(call, this.#sql.begin(work));
  }

  async #tracked<Result>(call: string, running: Promise<Result>): Promise<Result> {
    const startedAt = performance.now();
    this.#running.add(running);
    try {
      return await running;
    } catch (error) {
      throw explained(error, call, { startedAt, lockTimeoutMs: this.#parts.options.lockTimeoutMs });
    } finally {
      this.#running.delete(running);
    }
  }

  #unit(transaction: postgres.TransactionSql, scope: PostgresScope): PostgresUnit {
    return new PostgresUnit(
      transaction,
      { schema: this.#schema, tables: this.#tables, reads: this.#reads },
      scope,
    );
  }

  async #appendWithin(
    transaction: PostgresTransaction,
    appends: readonly StreamAppend[],
    inline: InlineHook<PostgresUnit> | undefined,
  ): Promise<AppendResult[]> {
    const prepared = prepareAppends(appends, this.#parts.options.maxEventBytes);
    const append = async (sql: postgres.TransactionSql, scope?: PostgresScope): Promise<AppendResult[]> => {
      if (prepared.every(({ events }) => events.length === 0)) return this.#nothing(sql, prepared);
      const { results, head } = await this.#appender.within(sql, { appends: prepared, inline });
      if (scope) scope.head = Math.max(scope.head, head);
      return results;
    };
    if (transaction instanceof PostgresUnit) {
      return this.#scopes.within(transaction, 'append', (scope) => append(transaction.sql, scope));
    }
    this.#check();
    if (typeof transaction === 'function') return append(transaction);
    throw new InvalidArgumentError(
      'transaction',
      transaction,
      'must be the unit of a transaction of this store, or a transaction of its client',
    );
  }

  /** Appending nothing is no operation: it only looks. */
  async #nothing(runner: Runner, appends: readonly PreparedAppend[]): Promise<AppendResult[]> {
    const results: AppendResult[] = [];
    for (const { stream } of appends) results.push(await this.#writes.current(runner, stream));
    return results;
  }
}

/**
 * Opens a store in a PostgreSQL database: by its address, by options of the `postgres` client (TLS among them), or by a
 * client, whose options are taken; the connections are the store's own. Sets the schema up, or brings it up to date.
 * @throws InvalidArgumentError, NewerSchemaError, OutdatedSchemaError, PrivilegeError, UnsuitableDatabaseError,
 * StoreUnavailableError
 */
export async function postgresStore(
  database: Database | postgres.Sql,
  options: PostgresStoreOptions = {},
): Promise<PostgresStore> {
  const { schema = 'refold', migrate: mode = 'run', listen, ...rest } = options;
  checkOptions(options);
  const named = new Schema(schema);
  const client = clientOptions(database);
  const sql = new SessionPool(client);
  try {
    await (mode === 'run' ? migrate(sql, named) : checkMigrated(sql, named));
  } catch (error) {
    await sql.end();
    throw translate(error, 'opening the store');
  }
  return new PostgresStore({
    sql,
    schema: named,
    listen: listen === false ? undefined : listen ? clientOptions(listen) : client,
    options: {
      notify: true,
      pollMs: listen === false ? 250 : 1000,
      lockTimeoutMs: 10_000,
      settleTimeoutMs: 30_000,
      idleTransactionMs: 30_000,
      maxEventBytes: DEFAULT_MAX_EVENT_BYTES,
      logger: consoleLogger,
      clock: systemClock,
      ...withoutUndefined(rest),
    },
  });
}
