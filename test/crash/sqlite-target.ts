import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { ProjectionContext } from '@refold/core';
import { sqliteStore, sqlProjection, type SqliteUnit } from '@refold/sqlite';
import { CHAIN_FACTOR, CHAIN_PRIME, Deposited, Withdrawn, type Tally } from './domain.js';
import type { CrashTarget } from './target.js';

type Context = ProjectionContext<SqliteUnit>;

/** After so many events the handler of `movements` lets go of the event loop, inside its transaction. */
const YIELD_EVERY = 8;

/** One file in a folder of its own, at the default durability. */
export const sqliteTarget: CrashTarget<SqliteUnit> = {
  name: 'sqlite',
  mostWriters: 2,
  create: () => mkdtemp(join(tmpdir(), 'refold-crash-')),
  open: (place) => sqliteStore(fileIn(place)),
  remove: (place) => rm(place, { recursive: true, force: true }),

  movements(version, onHandling) {
    let handled = 0;
    const move = async (context: Context, stream: string, amount: number): Promise<void> => {
      onHandling('movements');
      const { unit } = context;
      const table = context.table('movements');
      const chain = `((chain * ${CHAIN_FACTOR} + ?) % ${CHAIN_PRIME} + ${CHAIN_PRIME}) % ${CHAIN_PRIME}`;
      unit.run(`insert into ${table} values (?, 0, 0, 0) on conflict do nothing`, stream);
      unit.run(
        `update ${table} set moves = moves + 1, total = total + ?, chain = ${chain} where stream = ?`,
        amount,
        amount,
        stream,
      );
      if (++handled % YIELD_EVERY === 0) await setImmediate();
    };
    return sqlProjection('movements', {
      version,
      tables: {
        movements: (table) =>
          `create table ${table} (stream text primary key, moves integer, total integer, chain integer) strict`,
      },
    })
      .on(Deposited, ({ stream, data }, context) => move(context, stream, data.amount))
      .on(Withdrawn, ({ stream, data }, context) => move(context, stream, -data.amount));
  },

  readMovements: (place) =>
    reading(place, (database) => {
      const exists = database.prepare("select 1 from sqlite_schema where name = 'movements'").get();
      const rows = exists ? database.prepare('select * from movements').all() : [];
      return new Map((rows as (Tally & { stream: string })[]).map(({ stream, ...tally }) => [stream, tally]));
    }),

  damage: (place) =>
    reading(place, (database) => {
      const found = database.pragma('integrity_check') as { integrity_check: string }[];
      const references = database.pragma('foreign_key_check') as unknown[];
      const messages = found.map((row) => row.integrity_check).filter((message) => message !== 'ok');
      return [...messages, ...references.map((row) => `foreign key violated: ${JSON.stringify(row)}`)];
    }),
};

function fileIn(place: string): string {
  return join(place, 'store.db');
}

async function reading<Result>(
  place: string,
  read: (database: Database.Database) => Result,
): Promise<Result> {
  const database = new Database(fileIn(place), { readonly: true });
  try {
    return read(database);
  } finally {
    database.close();
  }
}
