import {
  checkOpen,
  EventReader,
  LeaseLostError,
  readAllRange,
  readStreamRange,
  toJson,
  type DocumentAccess,
  type Lease,
  type LiveGeneration,
  type LogUnit,
  type ReadAllOptions,
  type ReadStreamOptions,
  type Snapshot,
  type StateUnit,
  type TransactionScope,
} from '@refold/core';
import type postgres from 'postgres';
import { tableName } from './collections.js';
import { documentAccess } from './documents.js';
import type { LogReads } from './log-reads.js';
import type { Schema } from './schema.js';
import type { StateTables } from './state-tables.js';

/** What every unit of a store works with. */
export interface UnitContext {
  readonly schema: Schema;
  readonly tables: StateTables;
  readonly reads: LogReads;
}

/** A transaction on the database. */
export class PostgresUnit implements StateUnit, LogUnit {
  readonly #sql: postgres.TransactionSql;
  readonly #context: UnitContext;
  readonly #scope: TransactionScope;

  /** @internal Transactions, inline hooks and handlers get one. */
  constructor(sql: postgres.TransactionSql, context: UnitContext, scope: TransactionScope) {
    this.#sql = sql;
    this.#context = context;
    this.#scope = scope;
  }

  /** The `postgres` client's transaction: await everything that is run with it. @throws TransactionEndedError */
  get sql(): postgres.TransactionSql {
    checkOpen(this.#scope);
    return this.#sql;
  }

  documents(collection: string, generation: number): DocumentAccess {
    const table = tableName(this.#context.schema, collection, generation);
    return documentAccess(this.#sql, table, () => checkOpen(this.#scope));
  }

  table(collection: string, generation: number): string {
    return tableName(this.#context.schema, collection, generation);
  }

  async advance(lease: Lease, from: number, to: number): Promise<void> {
    if (await this.#context.tables.advance(this.sql, lease, from, to)) return;
    throw new LeaseLostError(lease.processor, lease.token);
  }

  /** Nobody else moves its checkpoints before this transaction has ended. */
  async live(processor: string): Promise<LiveGeneration | undefined> {
    const { tables } = this.#context;
    const generations = await tables.generations(this.sql, processor);
    const generation = generations.find(({ status }) => status === 'live');
    if (!generation) return undefined;
    const of = { processor, generation: generation.generation, locked: true };
    const partitions = await tables.partitions(this.sql, of);
    // While the rows were waited for, another generation may have taken its place.
    const again = await tables.generations(this.sql, processor);
    const current = again.find(({ status }) => status === 'live');
    if (current?.generation !== generation.generation) return this.live(processor);
    return { generation, partitions };
  }

  async activate(processor: string, generation: number): Promise<void> {
    await this.#context.tables.activate(this.sql, processor, generation);
  }

  loadSnapshot(stream: string): Promise<Snapshot | undefined> {
    return this.#context.tables.loadSnapshot(this.sql, stream);
  }

  async saveSnapshot({ state, ...snapshot }: Snapshot): Promise<void> {
    const json = toJson(state, `snapshot of ${snapshot.stream}`);
    await this.#context.tables.saveSnapshot(this.sql, snapshot, json);
  }

  readStream(stream: string, options?: ReadStreamOptions): EventReader {
    const check = (): void => checkOpen(this.#scope);
    const range = readStreamRange(stream, options);
    return new EventReader(this.#context.reads.readStream(this.#sql, stream, range, check));
  }

  readAll(options?: ReadAllOptions): EventReader {
    const check = (): void => checkOpen(this.#scope);
    return new EventReader(this.#context.reads.readAll(this.#sql, readAllRange(options), check));
  }
}
