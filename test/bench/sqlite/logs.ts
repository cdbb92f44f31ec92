import { createApplication, EventCodec, type Application, type StreamAppend } from '@refold/core';
import { sqliteStore, type SqliteStore, type SqliteUnit } from '@refold/sqlite';
import Database from 'better-sqlite3';
import { copyFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Account,
  accountAt,
  Deposited,
  eventAt,
  expectedStatements,
  holdsLarge,
  LARGE_ACCOUNT,
  LARGE_EVENTS,
  SnapshottedAccount,
  statements,
  Withdrawn,
  type Statement,
} from '../accounts.js';
import { RawSqlite } from './raw.js';

export const stream = (account: string): string => `account-${account}`;

/** Two equal logs of one length: one behind Refold, one behind hand-written code. */
export interface Logs {
  readonly length: number;
  readonly file: string;
  readonly rawFile: string;
  readonly store: SqliteStore;
  readonly application: Application<SqliteUnit>;
  readonly raw: RawSqlite;
  /** Looks into Refold's file without Refold. */
  readonly witness: RawSqlite;
  /** What a plain fold of the log gives. */
  readonly expected: ReadonlyMap<string, Statement>;
}

/** Makes logs of these lengths in a temporary folder, hands them to `work`, and removes them. */
export async function withLogs(
  lengths: readonly number[],
  work: (logs: readonly Logs[]) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'refold-bench-'));
  const logs: Logs[] = [];
  try {
    for (const length of lengths) logs.push(await makeLogs(folder, length));
    await work(logs);
  } finally {
    for (const { store, raw, witness } of logs) {
      witness.close();
      raw.close();
      await store.close();
    }
    await rm(folder, { recursive: true, force: true });
  }
}

/** An application on the accounts whose only projection has this name. */
export function accountsApplication(store: SqliteStore, projection: string): Application<SqliteUnit> {
  return createApplication({
    store,
    aggregates: [Account, SnapshottedAccount],
    projections: [statements(projection)],
  });
}

/** Appends the events of the large aggregate where the log itself has no room for them. */
export async function ensureLarge({ length, application, raw }: Logs): Promise<void> {
  if (holdsLarge(length)) return;
  for (let index = 0; index < LARGE_EVENTS; index += 1000) {
    const events = Array.from({ length: 1000 }, (_, offset) => eventAt(length + index + offset));
    await application.append(stream(LARGE_ACCOUNT), events);
    raw.append([{ stream: stream(LARGE_ACCOUNT), events }]);
  }
}

async function makeLogs(folder: string, length: number): Promise<Logs> {
  const file = join(folder, `ours-${length}.db`);
  const rawFile = join(folder, `raw-${length}.db`);
  const seed = await sqliteStore(file);
  for (let first = 0; first < length; first += SEED_BATCH) {
    await seed.appendAll(seedAppends(first, Math.min(length, first + SEED_BATCH), length));
  }
  await seed.close();
  intoOneFile(file);
  copyFileSync(file, rawFile);
  const store = await sqliteStore(file);
  return {
    length,
    file,
    rawFile,
    store,
    application: accountsApplication(store, 'statements'),
    raw: new RawSqlite(rawFile),
    witness: new RawSqlite(file),
    expected: expectedStatements(length),
  };
}

/** Moves what is still in the write-ahead log into the file itself. */
function intoOneFile(file: string): void {
  const database = new Database(file);
  database.pragma('wal_checkpoint(truncate)');
  database.close();
}

const SEED_BATCH = 5000;
const codec = new EventCodec([Deposited, Withdrawn]);

/** The events from `first` to before `end`, by stream. */
function seedAppends(first: number, end: number, length: number): StreamAppend[] {
  const byStream = new Map<string, StreamAppend & { events: ReturnType<EventCodec['encode']>[] }>();
  for (let index = first; index < end; index++) {
    const name = stream(accountAt(index, length));
    let append = byStream.get(name);
    if (!append) byStream.set(name, (append = { stream: name, events: [] }));
    append.events.push(codec.encode(eventAt(index)));
  }
  return [...byStream.values()];
}
