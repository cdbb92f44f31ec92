import Database from 'better-sqlite3';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreBusyError } from '@refold/core';
import {
  CorruptDatabaseError,
  DatabaseOpenError,
  DiskFullError,
  ForeignDatabaseError,
  NewerDatabaseError,
  ReadonlyDatabaseError,
} from './errors.js';

/** `'full'`: a commit survives power loss. `'normal'`: power loss may undo the last commits, a crash of the process none. */
export type Durability = 'full' | 'normal';

/** Marks a file as Refold's: "Refo" as a big-endian integer, in SQLite's application_id. */
const APPLICATION_ID = 0x5265666f;

const MIGRATIONS = new URL('../migrations/', import.meta.url);

/** Opens the connection that writes, and brings the schema up to date. */
export async function openWriter(
  file: string,
  durability: Durability,
  lockTimeoutMs: number,
): Promise<Database.Database> {
  const database = open(file, { timeout: 0 });
  try {
    await retryWhileBusy(() => checkFile(database, file), lockTimeoutMs);
    await retryWhileBusy(() => database.pragma('journal_mode = wal'), lockTimeoutMs);
    database.pragma(`synchronous = ${durability}`);
    // Without it macOS acknowledges a sync that a power loss can undo.
    if (durability === 'full') database.pragma('fullfsync = on');
    database.pragma('foreign_keys = on');
    // A longer log between checkpoints: fewer pages are written twice.
    database.pragma('wal_autocheckpoint = 10000');
    database.pragma('cache_size = -32000');
    database.pragma('temp_store = memory');
    await retryWhileBusy(() => migrate(database, file), lockTimeoutMs);
    return database;
  } catch (error) {
    database.close();
    throw translate(error, file);
  }
}

/** Opens a connection that only reads, beside a writer that has prepared the file. */
export function openReader(file: string): Database.Database {
  const database = open(file, { readonly: true, fileMustExist: true, timeout: 100 });
  database.pragma('cache_size = -16000');
  return database;
}

/** Tries again, in short attempts that leave the event loop free, while another process holds a lock. */
export async function retryWhileBusy<Result>(attempt: () => Result, lockTimeoutMs: number): Promise<Result> {
  const startedAt = performance.now();
  for (let tries = 0; ; tries++) {
    try {
      return attempt();
    } catch (error) {
      if (!isBusy(error)) throw error;
      const waited = performance.now() - startedAt;
      if (waited >= lockTimeoutMs) throw new StoreBusyError(Math.round(waited), error);
      await sleep(Math.random() * Math.min(20, 1 + tries));
    }
  }
}

/** SQLite's errors that a user can do something about, as errors that say what. */
export function translate(error: unknown, file: string): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  const { code } = error;
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB')
    return new CorruptDatabaseError(file, error);
  if (code.startsWith('SQLITE_READONLY')) return new ReadonlyDatabaseError(file, error);
  if (code.startsWith('SQLITE_CANTOPEN')) return new DatabaseOpenError(file, error);
  if (code === 'SQLITE_FULL') return new DiskFullError(file, error);
  return error;
}

/** The names and texts of the migrations, in order; the number that a name begins with is the version it leads to. */
export function migrations(): readonly Migration[] {
  return (known ??= readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => ({
      version: Number.parseInt(name, 10),
      name,
      sql: readFileSync(new URL(name, MIGRATIONS), 'utf8'),
    })));
}

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** Read once: a process may give up the right to read them. */
let known: readonly Migration[] | undefined;

function open(file: string, options: Database.Options): Database.Database {
  try {
    return new Database(file, options);
  } catch (error) {
    // better-sqlite3 reports a missing folder as a TypeError.
    throw error instanceof TypeError ? new DatabaseOpenError(file, error) : translate(error, file);
  }
}

/** Looks before anything is written. One statement, because another process may be creating the schema meanwhile. */
function checkFile(database: Database.Database, file: string): void {
  const sql = `select application_id as owner, user_version as version, (select count(*) from sqlite_schema) as entries
    from pragma_application_id, pragma_user_version`;
  const { owner, version, entries } = database.prepare(sql).get() as Record<string, number>;
  if (owner === APPLICATION_ID) checkVersion(file, version ?? 0);
  else if (owner !== 0 || version !== 0 || entries !== 0) throw new ForeignDatabaseError(file);
}

function checkVersion(file: string, version: number): void {
  const newest = migrations().at(-1)?.version ?? 0;
  if (version > newest) throw new NewerDatabaseError(file, version, newest);
}

/** Runs what is missing under the write lock, so that two processes that start together run it once. */
function migrate(database: Database.Database, file: string): void {
  const all = migrations();
  const newest = all.at(-1)?.version ?? 0;
  database.exec('begin immediate');
  try {
    const current = Number(database.pragma('user_version', { simple: true }));
    checkVersion(file, current);
    for (const { version, sql } of all) if (version > current) database.exec(sql);
    database.pragma(`application_id = ${APPLICATION_ID}`);
    // Also where nothing changes, because here a file that cannot be written is noticed: SQLite lets it be locked.
    database.pragma(`user_version = ${newest}`);
    database.exec(current < newest ? 'commit' : 'rollback');
  } catch (error) {
    if (database.inTransaction) database.exec('rollback');
    throw error;
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');
}
