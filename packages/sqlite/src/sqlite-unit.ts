import {
  InvalidArgumentError,
  LeaseLostError,
  readAllRange,
  readStreamRange,
  EventReader,
  toJson,
  type Clock,
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
} from '@refold/core';
import { tableName } from './collections.js';
import type { LogReads } from './log-reads.js';
import type { StateTables } from './state-tables.js';
import type { Statements, SqlValue } from './statements.js';
import { checkOpen, type SqliteScope } from './writer.js';

/** What a statement changed. */
export interface RunResult {
  readonly changes: number;
}

/** What every unit of a store works with. */
export interface UnitContext {
  readonly statements: Statements;
  readonly tables: StateTables;
  readonly reads: LogReads;
  readonly clock: Clock;
}

/** A transaction on the file. SQL sees what the transaction has written so far; nobody else does before it commits. */
export class SqliteUnit implements StateUnit, LogUnit {
  readonly #statements: Statements;
  readonly #tables: StateTables;
  readonly #reads: LogReads;
  readonly #scope: SqliteScope;
  readonly #clock: Clock;

  constructor({ statements, tables, reads, clock }: UnitContext, scope: SqliteScope) {
    this.#statements = statements;
    this.#tables = tables;
    this.#reads = reads;
    this.#scope = scope;
    this.#clock = clock;
  }

  /** Runs a statement that returns no rows. @throws SqliteError for what SQLite refuses, InvalidArgumentError */
  run(sql: string, ...values: SqlValue[]): RunResult {
    this.#check(sql);
    return { changes: this.#statements.run(sql).run(...values).changes };
  }

  /** The first row, undefined if there is none. */
  get<Row = Record<string, SqlValue>>(sql: string, ...values: SqlValue[]): Row | undefined {
    this.#check(sql);
    return this.#statements.objects(sql).get(...values) as Row | undefined;
  }

  /** All rows. */
  all<Row = Record<string, SqlValue>>(sql: string, ...values: SqlValue[]): Row[] {
    this.#check(sql);
    return this.#statements.objects(sql).all(...values) as Row[];
  }

  documents(collection: string, generation: number): DocumentAccess {
    return documentAccess(this.#statements, tableName(collection, generation), () => checkOpen(this.#scope));
  }

  table(collection: string, generation: number): string {
    return tableName(collection, generation);
  }

  async advance(lease: Fence, from: number, to: number): Promise<void> {
    checkOpen(this.#scope);
    if (this.#tables.partitions.advance({ lease, from, to })) return;
    throw new LeaseLostError(lease.processor, lease.token);
  }

  async park(letters: readonly DeadLetter[]): Promise<void> {
    checkOpen(this.#scope);
    this.#tables.letters.park(letters);
  }

  async unpark(letter: Pick<DeadLetter, 'processor' | 'generation' | 'position'>): Promise<boolean> {
    checkOpen(this.#scope);
    return this.#tables.letters.unpark(letter);
  }

  async setTimers(
    owner: Pick<Generation, 'processor' | 'generation'>,
    timers: readonly Timer[],
  ): Promise<void> {
    checkOpen(this.#scope);
    this.#tables.timers.set(owner, timers);
  }

  async removeTimers(
    owner: Pick<Generation, 'processor' | 'generation'>,
    timers: readonly Pick<Timer, 'sequence' | 'name'>[],
  ): Promise<readonly boolean[]> {
    checkOpen(this.#scope);
    return this.#tables.timers.remove(owner, timers);
  }

  async receive(message: ReceivedId): Promise<boolean> {
    checkOpen(this.#scope);
    return this.#tables.inbox.receive(message, this.#clock.now());
  }

  async receiveInSequence(place: ReceivedPlace): Promise<boolean> {
    checkOpen(this.#scope);
    return this.#tables.inbox.receiveInSequence(place, this.#clock.now());
  }

  async live(processor: string): Promise<LiveGeneration | undefined> {
    checkOpen(this.#scope);
    const generation = this.#tables.generations(processor).find(({ status }) => status === 'live');
    if (!generation) return undefined;
    return { generation, partitions: this.#tables.partitions.of(generation) };
  }

  async activate(processor: string, generation: number): Promise<void> {
    checkOpen(this.#scope);
    this.#tables.activate(processor, generation);
  }

  async unprocessed(processor: string, generation: number): Promise<readonly number[]> {
    checkOpen(this.#scope);
    return this.#tables.unprocessed(processor, generation).map(({ position }) => position);
  }

  async loadSnapshot(stream: string): Promise<Snapshot | undefined> {
    checkOpen(this.#scope);
    return this.#tables.loadSnapshot(stream);
  }

  async saveSnapshot({ stream, revision, version, state }: Snapshot): Promise<void> {
    checkOpen(this.#scope);
    this.#tables.saveSnapshot(stream, revision, version, toJson(state, `snapshot of ${stream}`));
  }

  readStream(stream: string, options?: ReadStreamOptions): EventReader {
    const range = readStreamRange(stream, options);
    return new EventReader(this.#reads.readStream(stream, range, () => checkOpen(this.#scope)));
  }

  readAll(options?: ReadAllOptions): EventReader {
    return new EventReader(this.#reads.readAll(readAllRange(options), () => checkOpen(this.#scope)));
  }

  #check(sql: string): void {
    checkOpen(this.#scope);
    if (TRANSACTION_CONTROL.test(sql)) {
      throw new InvalidArgumentError('sql', sql, 'must not begin or end a transaction: the store does that');
    }
  }
}

/** Behind whatever SQLite skips before a statement: space, semicolons and comments. */
const TRANSACTION_CONTROL =
  /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)*(begin|commit|end|rollback|savepoint|release|attach|detach|vacuum)\b/i;

/** Documents of one table, through one connection. */
export function documentAccess(statements: Statements, table: string, check: () => void): DocumentAccess {
  return {
    async getMany(keys) {
      check();
      const found = new Map<string, unknown>();
      const select = statements.values(`select document from ${table} where key = ?`);
      for (const key of keys) {
        const document = select.get(key);
        if (typeof document === 'string') found.set(key, JSON.parse(document));
      }
      return found;
    },
    async putMany(documents) {
      check();
      const upsert = statements.run(
        `insert into ${table} (key, document) values (?, ?) on conflict (key) do update set document = excluded.document`,
      );
      for (const [key, document] of documents)
        upsert.run(key, toJson(document, `document "${key}" of ${table}`));
    },
    async deleteMany(keys) {
      check();
      const remove = statements.run(`delete from ${table} where key = ?`);
      for (const key of keys) remove.run(key);
    },
  };
}
