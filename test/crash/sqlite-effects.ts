import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { sqliteStore, type SqliteUnit } from '@refold/sqlite';
import type { EffectTarget } from './effect-target.js';
import type { Effect } from './effects.js';

/** One file in a folder of its own, at the default durability. */
export const sqliteEffects: EffectTarget<SqliteUnit> = {
  name: 'sqlite',
  create: () => mkdtemp(join(tmpdir(), 'refold-effects-')),
  open: (place) => sqliteStore(storeIn(place)),
  prepareEffects: (place) =>
    beside(place, (database) => {
      database.exec(
        'create table effects (number integer primary key, life integer, position integer, sequence text) strict',
      );
    }),
  writeEffect: async (unit, { position }, sequence, life) => {
    unit.run('insert into effects (life, position, sequence) values (?, ?, ?)', life, position, sequence);
  },
  readEffects: (place) =>
    beside(
      place,
      (database) =>
        database.prepare('select life, position, sequence from effects order by number').all() as Effect[],
    ),
  remove: (place) => rm(place, { recursive: true, force: true }),
  close: async () => {},
};

/** The file of a place. */
export function storeIn(place: string): string {
  return join(place, 'store.db');
}

/** Works on the file beside the store. */
export async function beside<Result>(
  place: string,
  work: (database: Database.Database) => Result,
): Promise<Result> {
  const database = new Database(storeIn(place));
  try {
    return work(database);
  } finally {
    database.close();
  }
}
