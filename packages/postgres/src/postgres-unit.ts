import {
  checkOpen,
  EventReader,
  LeaseLostError,
  readAllRange,
  readStreamRange,
  toJson,
  type DeadLetter,
  type DocumentAccess,
  type Fence,
  type Generation,
  type LiveGeneration,
  type LogUnit,
  type ReadAllOptions,
  type ReadStreamOptions,
  type ReceivedId,
  type ReceivedPlace,
  type Snapshot,
  type StateUnit,
  type Timer,
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

  async advance(lease: Fence, from: number, to: number): Promise<void> {
    if (await this.#context.tables.partitions.advance(this.sql, { lease, from, to })) return;
    throw new LeaseLostError(lease.processor, lease.token);
  }

  async park(letters: readonly DeadLetter[]): Promise<void> {
    await this.#context.tables.letters.park(this.sql, letters);
  }

  async unpark(letter: Pick<DeadLetter, 'processor' | 'generation' | 'position'>): Promise<boolean> {
    return this.#context.tables.letters.unpark(this.sql, letter);
  }

  async setTimers(
    owner: Pick<Generation, 'processor' | 'generation'>,
    timers: readonly Timer[],
  ): Promise<void> {
    await this.#context.tables.timers.set(this.sql, owner, timers);
  }

  async removeTimers(
    owner: Pick<Generation, 'processor' | 'generation'>,
    timers: readonly Pick<Timer, 'sequence' | 'name'>[],
  ): Promise<readonly boolean[]> {
    return this.#context.tables.timers.remove(this.sql, owner, timers);
  }

  receive(message: ReceivedId): Promise<boolean> {
    return this.#context.tables.inbox.receive(this.sql, message);
  }

  receiveInSequence(place: ReceivedPlace): Promise<boolean> {
    return this.#context.tables.inbox.receiveInSequence(this.sql, place);
  }

  /**
   * Nobody else moves its checkpoints, or changes what partitions it has, before this transaction has ended. A
   * transaction that is to `activate` does well to begin with it: whoever changes partitions first takes the same lock.
   */
  async live(processor: string): Promise<LiveGeneration | undefined> {
    return this.#context.tables.live(this.sql, processor);
  }

  async activate(processor: string, generation: number): Promise<void> {
    await this.#context.tables.activate(this.sql, processor, generation);
  }

  unprocessed(processor: string, generation: number): Promise<readonly number[]> {
    return this.#context.tables.unprocessed(this.sql, processor, generation);
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
