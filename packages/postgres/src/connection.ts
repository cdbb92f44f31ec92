import { StoreClosedError, StoreUnavailableError } from '@refold/core';
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

/** Another held a lock for longer than one may wait. */
export const LOCK_NOT_AVAILABLE = '55P03';
/** The server undid one of several transactions that waited for each other. */
export const DEADLOCK = '40P01';

/** The code of the wait that ended a transaction, whatever a callback has made of the error. */
export function undoneBy(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = codeOf(at);
    if (code === LOCK_NOT_AVAILABLE || code === DEADLOCK) return code;
  }
  return undefined;
}

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
