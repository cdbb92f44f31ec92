import type Database from 'better-sqlite3';
import { AsyncLocalStorage } from 'node:async_hooks';
import { Mutex, NestedTransactionError, StoreClosedError, TransactionEndedError } from '@refold/core';
import { retryWhileBusy, translate } from './database.js';
import { TransactionUndoneError } from './errors.js';

/** A transaction's callback: whether it still runs, and whether SQLite still keeps the transaction for it. */
export interface TransactionScope {
  open: boolean;
  readonly kept: () => boolean;
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
  readonly #scopes = new AsyncLocalStorage<TransactionScope>();
  #closed = false;

  constructor(database: Database.Database, file: string, lockTimeoutMs: number) {
    this.#database = database;
    this.#file = file;
    this.#lockTimeoutMs = lockTimeoutMs;
  }

  /** @throws NestedTransactionError when called from inside a transaction's callback */
  checkNotNested(call: string): void {
    if (this.#scopes.getStore()?.open) throw new NestedTransactionError(call);
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

  /** Runs a user's callback with a scope that knows when it has ended. */
  async scoped<Result>(work: (scope: TransactionScope) => Promise<Result>): Promise<Result> {
    const scope = { open: true, kept: () => this.#database.inTransaction };
    try {
      return await this.#scopes.run(scope, () => work(scope));
    } finally {
      scope.open = false;
    }
  }

  /** Waits for the transactions that were asked for before, then closes the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#mutex.run(() => this.#database.close());
  }
}

/** @throws TransactionEndedError, TransactionUndoneError */
export function checkOpen(scope: TransactionScope): void {
  if (!scope.open) throw new TransactionEndedError();
  if (!scope.kept()) throw new TransactionUndoneError();
}
