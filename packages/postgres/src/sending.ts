import type { Clock } from '@refold/core';
import type postgres from 'postgres';
import type { Sessions } from './connection.js';
import type { SessionPool } from './session-pool.js';

/** The connections as the settlement of one group uses them. */
export class Sending implements Sessions {
  /** Whether anything may have reached the server. */
  hasSent = false;
  readonly #pool: SessionPool;
  readonly #clock: Clock;
  #abort = new AbortController();

  constructor(pool: SessionPool, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /** Ends connections that take longer than so many milliseconds. */
  async within<Result>(ms: number, work: () => Promise<Result>): Promise<Result> {
    const [abort, done] = [(this.#abort = new AbortController()), new AbortController()];
    const late = new Promise<never>((_, reject) => {
      void this.#clock.sleep(ms, done.signal).then(() => {
        if (done.signal.aborted) return;
        const error = new NoAnswerError(ms);
        abort.abort(error);
        reject(error);
      });
    });
    try {
      return await Promise.race([work(), late]);
    } finally {
      done.abort();
    }
  }

  use<Result>(work: (sql: postgres.Sql) => Promise<Result>): Promise<Result> {
    return this.#pool.use((sql) => {
      this.hasSent = true;
      return work(sql);
    }, this.#abort.signal);
  }

  begin<Result>(work: (transaction: postgres.TransactionSql) => Promise<Result>): Promise<Result> {
    return this.#pool.begin((transaction) => {
      this.hasSent = true;
      return work(transaction);
    }, this.#abort.signal);
  }
}

/** The server has not answered for too long. */
class NoAnswerError extends Error {
  readonly code = 'ETIMEDOUT';

  constructor(ms: number) {
    super(`The server has not answered for ${Math.max(0, Math.round(ms))} ms`);
  }
}
