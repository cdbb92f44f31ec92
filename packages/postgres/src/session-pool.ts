import type postgres from 'postgres';
import { learnArrayTypes } from './array-types.js';
import { codeOf, isConnectionError, type Sessions } from './connection.js';
import { ConnectionLostError, Session, type ClientOptions } from './session.js';
import { transactionOn } from './transaction.js';

interface Waiter {
  readonly resolve: (session: Session) => void;
  readonly reject: (error: unknown) => void;
}

/** A connection older than this is not used again, unless the client's options say something else. */
const LIFETIME_MS = 45 * 60_000;

/** How long a connection that is ended may go on with what it does. */
const END_SECONDS = 5;

/** Sessions, opened when they are needed up to the client's `max`, and used by one caller at a time. */
export class SessionPool implements Sessions {
  readonly #options: ClientOptions;
  readonly #max: number;
  readonly #lifetimeMs: number;
  readonly #sessions = new Set<Session>();
  /** The one that was used last is used next, so that the others stay idle. */
  readonly #idle = new Map<Session, NodeJS.Timeout | undefined>();
  readonly #waiting: Waiter[] = [];
  #types: Promise<void> | undefined;
  #ended = false;

  constructor(options: ClientOptions) {
    const { max, max_lifetime: lifetime } = options;
    this.#options = options;
    this.#max = Math.max(1, max || 10);
    this.#lifetimeMs =
      typeof lifetime === 'number' ? lifetime * 1000 : lifetime === null ? Infinity : LIFETIME_MS;
  }

  /**
   * Runs statements on a session that nobody else uses meanwhile. Nothing is sent before the callback is called. When the
   * signal aborts, the connection is ended, whatever it does.
   * @throws a connection error, with the driver's code, if it could not be made
   */
  use<Result>(work: (sql: postgres.Sql) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    return this.#with((session) => work(session.sql), signal);
  }

  /**
   * Runs a transaction: committed when the callback resolves, undone when it rejects.
   * @throws what the callback throws; a connection error if the connection broke, whatever the callback made of it
   */
  begin<Result>(
    work: (transaction: postgres.TransactionSql) => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> {
    return this.#with(async (session) => {
      // A transaction that sees the log as it was would give positions out twice.
      await session.sql.unsafe('begin isolation level read committed');
      const transaction = transactionOn(session);
      let result: Result;
      try {
        result = await work(transaction.sql);
      } catch (error) {
        transaction.end();
        await session.sql.unsafe('rollback').catch(() => session.end());
        throw session.isLost ? new ConnectionLostError(error) : error;
      }
      transaction.end();
      const { command } = await session.sql.unsafe('commit');
      if (command === 'ROLLBACK') throw new TransactionUndoneError();
      return result;
    }, signal);
  }

  /** Ends all sessions. */
  async end(): Promise<void> {
    this.#ended = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new PoolEndedError());
    await Promise.all([...this.#sessions].map((session) => session.end(END_SECONDS)));
    for (const timer of this.#idle.values()) clearTimeout(timer);
  }

  async #with<Result>(work: (session: Session) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    const session = await this.#acquire();
    const end = (): void => void session.end();
    signal?.addEventListener('abort', end, { once: true });
    try {
      signal?.throwIfAborted();
      return await work(session);
    } catch (error) {
      if (isConnectionError(error)) void session.end();
      throw codeOf(error) === 'CONNECTION_ENDED' ? new ConnectionLostError(error) : error;
    } finally {
      signal?.removeEventListener('abort', end);
      this.#release(session);
    }
  }

  async #acquire(): Promise<Session> {
    if (this.#ended) throw new PoolEndedError();
    for (const session of [...this.#idle.keys()].reverse()) {
      clearTimeout(this.#idle.get(session));
      this.#idle.delete(session);
      if (this.#isUsable(session)) return session;
      this.#discard(session);
    }
    if (this.#sessions.size < this.#max) return this.#open();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #release(session: Session): void {
    if (!this.#isUsable(session)) return this.#discard(session);
    const next = this.#waiting.shift();
    if (next) return next.resolve(session);
    const { idle_timeout: seconds } = this.#options;
    const timer = seconds ? setTimeout(() => this.#discard(session), seconds * 1000).unref() : undefined;
    this.#idle.set(session, timer);
  }

  #isUsable(session: Session): boolean {
    return !this.#ended && !session.isLost && Date.now() - session.openedAt < this.#lifetimeMs;
  }

  async #open(): Promise<Session> {
    const session: Session = new Session(this.#options, {
      onEnd: () => {
        if (this.#idle.has(session)) this.#discard(session);
      },
    });
    this.#sessions.add(session);
    try {
      await session.open();
      if (this.#options.fetch_types !== false)
        await (this.#types ??= learnArrayTypes(session.sql, this.#options));
      return session;
    } catch (error) {
      this.#types = undefined;
      this.#discard(session);
      throw error;
    }
  }

  /** Ends a session; its place is for who waits. */
  #discard(session: Session): void {
    clearTimeout(this.#idle.get(session));
    this.#idle.delete(session);
    if (!this.#sessions.delete(session)) return;
    void session.end(END_SECONDS);
    const next = this.#ended ? undefined : this.#waiting.shift();
    if (next) this.#open().then(next.resolve, next.reject);
  }
}

/** The pool has been ended. */
class PoolEndedError extends Error {
  readonly code = 'CONNECTION_ENDED';

  constructor() {
    super('The store is closed');
  }
}

/** The server undid at its commit a transaction in which a statement had failed. */
class TransactionUndoneError extends Error {
  readonly code = '25P02';

  constructor() {
    super('The transaction was undone: a statement in it failed. Put what may fail into a savepoint');
  }
}
