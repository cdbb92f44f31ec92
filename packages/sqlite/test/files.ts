import { sqliteStore, type SqliteStore, type SqliteStoreOptions } from '@refold/sqlite';
import Database from 'better-sqlite3';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before } from 'mocha';

/** The files of one suite, in a folder of their own that goes when the suite is over. */
export interface Files {
  readonly folder: string;
  path(name: string): string;
  /** The path of a file that does not exist yet. */
  fresh(): string;
  /** A store that is closed when its test is over. */
  open(file?: string, options?: SqliteStoreOptions): Promise<SqliteStore>;
  /** A plain connection, as any other program has it, closed when its test is over. */
  connect(file: string, options?: Database.Options): Database.Database;
}

/** Gives a suite its files. To be called inside `describe`, or at the top of a test file. */
export function useFiles(): Files {
  let folder = '';
  let count = 0;
  const opened = new Set<{ close(): unknown }>();
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'refold-sqlite-'));
  });
  afterEach(async () => {
    // Plain connections first: one may hold a lock that a store waits for.
    for (const one of [...opened].reverse()) await one.close();
    opened.clear();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const files: Files = {
    get folder() {
      return folder;
    },
    path: (name) => join(folder, name),
    fresh: () => join(folder, `${++count}.db`),
    open: async (file = files.fresh(), options) => {
      const store = await sqliteStore(file, options);
      opened.add(store);
      return store;
    },
    connect: (file, options) => {
      const database = new Database(file, { timeout: 0, ...options });
      opened.add(database);
      return database;
    },
  };
  return files;
}
