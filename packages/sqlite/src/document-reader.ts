import { findPlan, pageOf, type DocumentReader, type Indexes } from '@refold/core';
import type Database from 'better-sqlite3';
import { findDocuments } from './document-find.js';
import { documentAccess } from './sqlite-unit.js';
import type { Statements } from './statements.js';

const PAGE = 1000;

/** Reads a live read model through its view, which always shows the live generation. */
export function documentReader(
  database: Database.Database,
  statements: Statements,
  { collection, indexes = {} }: { readonly collection: string; readonly indexes?: Indexes },
  check: () => void,
): DocumentReader {
  const exists = (): boolean => {
    check();
    const sql = "select 1 from sqlite_schema where type in ('view', 'table') and name = ?";
    return statements.values(sql).get(collection) !== undefined && database.open;
  };
  const getMany = async (keys: readonly string[]): Promise<Map<string, unknown>> =>
    exists() ? documentAccess(statements, collection, check).getMany(keys) : new Map<string, unknown>();
  return {
    getMany,
    get: async (key) => (await getMany([key])).get(key),
    find: async (query) => {
      const plan = findPlan(collection, indexes, query);
      return pageOf(plan, exists() ? findDocuments(database, statements, collection, plan) : []);
    },
    count: async () => (exists() ? Number(statements.values(`select count(*) from ${collection}`).get()) : 0),
    async *entries() {
      // An empty string is no key, so it stands before every key.
      for (let last = ''; exists();) {
        const rows = statements
          .arrays(`select key, document from ${collection} where key > ? order by key limit ${PAGE}`)
          .all(last) as [string, string][];
        for (const [key, document] of rows) yield [key, JSON.parse(document) as unknown];
        if (rows.length < PAGE) return;
        last = rows.at(-1)?.[0] ?? last;
      }
    },
  };
}
