import { StoreBusyError, StoreClosedError, StoreUnavailableError } from '@refold/core';
import type postgres from 'postgres';
import { PrivilegeError } from './errors.js';

/** A database's address, or options of the `postgres` client. */
export type Database = string | postgres.Options<Record<string, postgres.PostgresType>>;

/** What runs statements on one connection: a session's client, or a transaction. */
export type Statements = Pick<postgres.Sql, 'unsafe'>;

/** Connections to run statements on, each for one caller at a time. */
export interface Sessions {
  readonly use: <Result>(work: (sql: postgres.Sql) => Promise<Result>) => Promise<Result>;
  readonly begin: <Result>(
    work: (transaction: postgres.TransactionSql) => Promise<Result>,
  ) => Promise<Result>;
}

/** What runs a statement: on one connection, or on any. */
export type Runner = Statements | Sessions;

/** Values that a statement is given. */
export type Value = string | number | boolean | null | Date;

/** Runs one of Refold's own statements, prepared once a connection (unless the pool says `prepare: false`). */
export function query<Row extends object>(
  runner: Runner,
  sql: string,
  values: readonly Value[] = [],
): Promise<Row[]> {
  if ('use' in runner) return runner.use((statements) => query(statements, sql, values));
  return runner.unsafe<Row[]>(sql, [...values], { prepare: true }).execute();
}

/** Whether an error says that the connection is broken or cannot be made, so that what was under way has an unknown end. */
export function isConnectionError(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && (CONNECTION_CODES.has(code) || code.startsWith('08'));
}

/** The code of an error of the server or of the driver. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The server's and the driver's errors that a user can do something about, as errors that say what. */
export function translate(error: unknown, call: string): unknown {
  const code = codeOf(error);
  if (code === 'CONNECTION_ENDED') return new StoreClosedError();
  if (isConnectionError(error)) return new StoreUnavailableError(call, error);
  if (code === '42501' && error instanceof Error) return new PrivilegeError(error);
  return error;
}

/** What ended a write, as an error that says what to do, whatever a callback has made of it. */
export function explained(
  error: unknown,
  call: string,
  { startedAt, lockTimeoutMs }: { readonly startedAt: number; readonly lockTimeoutMs: number },
): unknown {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (codeOf(at) === LOCK_NOT_AVAILABLE) return new StoreBusyError(lockTimeoutMs, error);
    // The server has undone the transaction, because it and another waited for each other.
    if (codeOf(at) === DEADLOCK) return new StoreBusyError(Math.round(performance.now() - startedAt), error);
  }
  return translate(error, call);
}

const LOCK_NOT_AVAILABLE = '55P03';
const DEADLOCK = '40P01';

const CONNECTION_CODES = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  '53300', // too many connections
  '57P01', // terminated by an administrator, or the server shuts down
  '57P02', // the server crashed
  '57P03', // the server is starting up
  '57P05', // idle for too long
]);
