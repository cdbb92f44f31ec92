import {
  checkPosition,
  consoleLogger,
  DEFAULT_MAX_EVENT_BYTES,
  EventReader,
  InvalidArgumentError,
  prepareAppends,
  readAllRange,
  readStreamRange,
  StoreBusyError,
  StoreClosedError,
  systemClock,
  toJson,
  TransactionScopes,
  UnsupportedError,
  type AppendAllOptions,
  type AppendResult,
  type DocumentAccess,
  type DocumentReader,
  type EventStore,
  type EventStoreSupports,
  type ExpectedRevision,
  type Failure,
  type Generation,
  type Lease,
  type LockHolder,
  type NewEvent,
  type Partition,
  type ReadAllOptions,
  type ReadStreamOptions,
  type Snapshot,
  type StateStore,
  type StreamAppend,
} from '@refold/core';
import type postgres from 'postgres';
import { Appender } from './appender.js';
import { ChangeFeed } from './change-feed.js';
import { tableName } from './collections.js';
import { codeOf, query, translate, type Database, type Runner } from './connection.js';
import { committedDocuments, documentReader } from './documents.js';
import { LogReads } from './log-reads.js';
import { LogWrites } from './log-writes.js';
import { checkMigrated, migrate } from './migrations.js';
import { checkOptions, withoutUndefined, type PostgresStoreOptions } from './options.js';
import { PostgresUnit } from './postgres-unit.js';
import { Schema } from './schema.js';
import { SessionPool } from './session-pool.js';
import { clientOptions, type ClientOptions } from './session.js';
import { StateTables, type NewGeneration } from './state-tables.js';

/** A transaction in which an append can take part: a unit of the store, or a transaction of the `postgres` client. */
export type PostgresTransaction = PostgresUnit | postgres.TransactionSql;

/** Options of `appendAll`. */
export interface PostgresAppendAllOptions extends AppendAllOptions<PostgresUnit> {
  /** Append inside this transaction, together with whatever else it does. It holds up all other appends until it ends. */
  readonly transaction?: PostgresTransaction;
}

/** Options of `append`. */
export interface PostgresAppendOptions extends PostgresAppendAllOptions {
  /** Default `'any'`. */
  readonly expected?: ExpectedRevision;
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
export class PostgresStore implements EventStore<PostgresUnit>, StateStore<PostgresUnit> {
  readonly supports: EventStoreSupports = { multiStreamAppend: true, inline: true, gaplessPositions: true };

  readonly #parts: Parts;
  readonly #sql: SessionPool;
  readonly #schema: Schema;
  readonly #writes: LogWrites;
  readonly #reads: LogReads;
  readonly #tables: StateTables;
  readonly #changes: ChangeFeed;
  readonly #appender: Appender;
  readonly #scopes = new TransactionScopes();
  /** What `close` waits for, beside appends. */
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  /** @internal Use `postgresStore`, which checks the database. */
  constructor(parts: Parts) {
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
      runInline: (transaction, work) => this.#withUnit(transaction, work),
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
    if (transaction) this.#check();
    else this.#checkWrite('append');
    const runner = transaction && transactionOf(transaction);
    const prepared = prepareAppends(appends, this.#parts.options.maxEventBytes);
    if (prepared.every(({ events }) => events.length === 0)) {
      return Promise.all(
        prepared.map(({ stream }) => this.#read(() => this.#writes.current(runner ?? this.#sql, stream))),
      );
    }
    if (!runner) return this.#appender.submit({ appends: prepared, inline });
    await this.#boundIdleness(runner);
    return this.#appender.within(runner, { appends: prepared, inline });
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
  transaction<Result>(work: (unit: PostgresUnit) => Promise<Result>): Promise<Result> {
    return this.#write('transaction', (transaction) => this.#withUnit(transaction, work));
  }

  generations(processor: string): Promise<readonly Generation[]> {
    return this.#read(() => this.#tables.generations(this.#sql, processor));
  }

  createGeneration(processor: string, options: NewGeneration): Promise<Generation> {
    return this.#write('createGeneration', (transaction) =>
      this.#tables.createGeneration(transaction, processor, options),
    );
  }

  dropGeneration(processor: string, generation: number): Promise<void> {
    return this.#write('dropGeneration', (transaction) =>
      this.#tables.dropGeneration(transaction, processor, generation),
    );
  }

  partitions(processor?: string): Promise<readonly Partition[]> {
    return this.#read(() => this.#tables.partitions(this.#sql, { processor }));
  }

  acquireLease(
    partition: Pick<Partition, 'processor' | 'generation' | 'firstSlice'>,
    options: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined> {
    return this.#statement('acquireLease', () => this.#tables.acquireLease(this.#sql, partition, options));
  }

  renewLeases(leases: readonly Lease[], ttlMs: number): Promise<readonly boolean[]> {
    return this.#statement('renewLeases', () => this.#tables.renewLeases(this.#sql, leases, ttlMs));
  }

  releaseLease(lease: Lease): Promise<void> {
    return this.#statement('releaseLease', () => this.#tables.releaseLease(this.#sql, lease));
  }

  recordFailure(lease: Lease, failure: Failure | undefined): Promise<void> {
    return this.#statement('recordFailure', () => this.#tables.recordFailure(this.#sql, lease, failure));
  }

  documents(collection: string): DocumentReader {
    this.#check();
    return documentReader(this.#sql, this.#schema.of(collection), () => this.#check());
  }

  documentsOf(collection: string, generation: number): Pick<DocumentAccess, 'getMany'> {
    this.#check();
    const table = tableName(this.#schema, collection, generation);
    return { getMany: (keys) => committedDocuments(this.#sql, table, keys, () => this.#check()) };
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
    this.#running.add(running);
    try {
      return await running;
    } catch (error) {
      throw codeOf(error) === '55P03'
        ? new StoreBusyError(this.#parts.options.lockTimeoutMs, error)
        : translate(error, call);
    } finally {
      this.#running.delete(running);
    }
  }

  #withUnit<Result>(
    transaction: postgres.TransactionSql,
    work: (unit: PostgresUnit) => Promise<Result>,
  ): Promise<Result> {
    const context = { schema: this.#schema, tables: this.#tables, reads: this.#reads };
    return this.#scopes.run((scope) => work(new PostgresUnit(transaction, context, scope)));
  }

  /** All other appends wait for the caller's transaction: one that nobody goes on with is ended by the server. */
  async #boundIdleness(transaction: postgres.TransactionSql): Promise<void> {
    const { idleTransactionMs } = this.#parts.options;
    if (idleTransactionMs === 0) return;
    await query(
      transaction,
      `select set_config('idle_in_transaction_session_timeout', $1::text, true) from pg_settings
       where name = 'idle_in_transaction_session_timeout' and setting::int not between 1 and $1::int`,
      [String(idleTransactionMs)],
    );
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

/** The driver's transaction behind what an append was given. @throws InvalidArgumentError for a unit of another store */
function transactionOf(transaction: PostgresTransaction): postgres.TransactionSql {
  if (transaction instanceof PostgresUnit) return transaction.sql;
  if (typeof transaction === 'function') return transaction;
  throw new InvalidArgumentError(
    'transaction',
    transaction,
    'must be a unit of this store, or a transaction of its client',
  );
}
