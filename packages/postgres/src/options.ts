import { InvalidArgumentError, type Clock, type Logger } from '@refold/core';
import type { Database } from './connection.js';

/** What `postgresStore` takes beside the database. */
export interface PostgresStoreOptions {
  /** The schema that holds everything of this store; any name. Default `refold`. */
  readonly schema?: string;
  /**
   * `'run'` (default): missing migrations are run when the store opens. `'check'`: they are asked for by an
   * OutdatedSchemaError, for roles that may not create tables; `migrationSql` prints them.
   */
  readonly migrate?: 'run' | 'check';
  /**
   * What the one connection that listens for changes is opened with, where that differs from the pool's: behind a pooler
   * in transaction mode, the database's own address. `false`: changes are polled for. Default: as the pool.
   */
  readonly listen?: Database | false;
  /** Whether appends tell listeners by NOTIFY. Default true. */
  readonly notify?: boolean;
  /** How often the head is looked at while someone waits for changes. Default 1,000 with `listen`, 250 without. */
  readonly pollMs?: number;
  /** How long an append waits for others' appends before it throws StoreBusyError. Default 10,000. */
  readonly lockTimeoutMs?: number;
  /**
   * How long an append whose connection broke tries to learn its outcome. A server that does not answer at all has
   * `lockTimeoutMs` in addition. Default 30,000.
   */
  readonly settleTimeoutMs?: number;
  /**
   * How long a transaction of the user's with an append in it may stay idle before the server ends it: all other appends
   * wait for it. 0 for no bound. Default 30,000.
   */
  readonly idleTransactionMs?: number;
  /** The largest event, data and metadata as JSON. Default 1 MiB. */
  readonly maxEventBytes?: number;
  readonly logger?: Logger;
  /** Waits between attempts; the database tells the time of events and leases. */
  readonly clock?: Clock;
}

/** Options that were given, so that defaults stand for the others. */
export function withoutUndefined<Options extends object>(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options;
}

/** @throws InvalidArgumentError */
export function checkOptions(options: PostgresStoreOptions): void {
  const { maxEventBytes = 1, migrate: mode = 'run' } = options;
  for (const name of ['pollMs', 'lockTimeoutMs', 'settleTimeoutMs', 'idleTransactionMs'] as const) {
    const value = options[name] ?? 1;
    const least = name === 'pollMs' || name === 'lockTimeoutMs' ? 1 : 0;
    if (!(value >= least && value <= 2_147_483_647)) {
      throw new InvalidArgumentError(name, value, `must be from ${least} to 2,147,483,647`);
    }
  }
  if (!Number.isSafeInteger(maxEventBytes) || maxEventBytes < 1) {
    throw new InvalidArgumentError('maxEventBytes', maxEventBytes, 'must be a whole number from 1');
  }
  if (mode !== 'run' && mode !== 'check') {
    throw new InvalidArgumentError('migrate', mode, "must be 'run' or 'check'");
  }
}
