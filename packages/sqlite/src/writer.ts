import type Database from 'better-sqlite3';
import { Mutex, StoreClosedError } from '@refold/core';
import { retryWhileBusy, translate } from './database.js';

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
      await retryWhileBusy(() => this.#database.exec('begin immediate'), this.#lockTimeoutMs).catch(
        (error: unknown) => {
          throw translate(error, this.#file);
        },
      );
      try {
        const result = await work();
        this.#database.exec('commit');
        return result;
      } catch (error) {
        if (this.#database.inTransaction) this.#database.exec('rollback');
        throw translate(error, this.#file);
      }
    });
  }

  /** Waits for the transactions that were asked for before, then closes the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#mutex.run(() => this.#database.close());
  }
}
