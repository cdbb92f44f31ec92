import type Database from 'better-sqlite3';
import { checkOpen as checkNotEnded, Mutex, StoreClosedError, type TransactionScope } from '@refold/core';
import { retryWhileBusy, translate } from './database.js';
import { TransactionUndoneError } from './errors.js';

/** A transaction's callback: whether it still runs, and whether SQLite still keeps the transaction for it. */
export interface SqliteScope extends TransactionScope {
  readonly kept: () => boolean;
  /** The end of the log after the last append inside the transaction. */
  head: number;
}

/**
 * The one connection that writes. Transactions take turns in this process by a mutex, so that one that awaits holds up
 * the next instead of taking its writes in, and with other processes by SQLite's write lock.
 */
export class Writer {
  readonly #database: Database.Database;
  readonly #file: string;
  readonly #lockTimeoutMs: number;
  readonly #mutex = new Mutex();
  #closed = false;

  constructor(database: Database.Database, file: string, lockTimeoutMs: number) {
    this.#database = database;
    this.#file = file;
    this.#lockTimeoutMs = lockTimeoutMs;
  }

  /** Runs `work`, synchronous or not, in a transaction of its own; what it throws undoes everything. */
  transaction<Result>(work: () => Result | Promise<Result>): Promise<Result> {
    if (this.#closed) return Promise.reject(new StoreClosedError());
    return this.#mutex.run(async () => {
      if (!this.#database.open) throw new StoreClosedError();
      try {
        await retryWhileBusy(() => this.#database.exec('begin immediate'), this.#lockTimeoutMs);
        const result = await work();
        this.checkKept();
        this.#database.exec('commit');
        return result;
      } catch (error) {
        if (this.#database.inTransaction) this.#database.exec('rollback');
        throw translate(error, this.#file);
      }
    });
  }

  /**
   * Without a transaction, what is written next would be committed by itself.
   * @throws TransactionUndoneError, with the error that was seen last, if SQLite has undone the transaction
   */
  checkKept(cause?: unknown): void {
    if (!this.#database.inTransaction) throw new TransactionUndoneError(cause);
  }

  /** The scope of a callback that is to run in the transaction under way. */
  scope(): SqliteScope {
    return { open: true, kept: () => this.#database.inTransaction, head: 0 };
  }

  /** Waits for the transactions that were asked for before, then closes the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#mutex.run(() => this.#database.close());
  }
}

/** @throws TransactionEndedError, TransactionUndoneError */
export function checkOpen(scope: SqliteScope): void {
  checkNotEnded(scope);
  if (!scope.kept()) throw new TransactionUndoneError();
}
