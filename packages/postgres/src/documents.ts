import {
  findPlan,
  pageOf,
  SerializationError,
  toJson,
  type DocumentAccess,
  type DocumentReader,
  type Indexes,
} from '@refold/core';
import { textArray } from './arrays.js';
import { codeOf, query, translate, type Runner } from './connection.js';
import { findStatement } from './document-find.js';

interface Row {
  readonly key: string;
  readonly document: string;
}

const PAGE = 1000;

const UNDEFINED_TABLE = '42P01';

/** What jsonb cannot hold: NUL and lone surrogates. */
const NOT_TEXT = new Set(['22P05', '22P02']);

/** Documents of one table, in a transaction. */
export function documentAccess(runner: Runner, table: string, check: () => void): DocumentAccess {
  return {
    getMany: (keys) => getMany(runner, table, keys, check),
    async putMany(documents) {
      check();
      if (documents.size === 0) return;
      const keys = [...documents.keys()];
      const values = keys.map((key) => toJson(documents.get(key), `document "${key}" of ${table}`));
      await query(
        runner,
        `insert into ${table} (key, document) select * from unnest($1::text[], $2::text[]::jsonb[])
         on conflict (key) do update set document = excluded.document`,
        [textArray(keys), textArray(values)],
      ).catch((error: unknown) => {
        throw NOT_TEXT.has(codeOf(error) ?? '')
          ? new SerializationError(`documents of ${table}`, error)
          : error;
      });
    },
    async deleteMany(keys) {
      check();
      if (keys.length === 0) return;
      await query(runner, `delete from ${table} where key = any($1::text[])`, [textArray(keys)]);
    },
  };
}

/** A collection, the view that shows its live generation, and what it is declared to be found by. */
export interface LiveDocuments {
  readonly collection: string;
  readonly view: string;
  readonly indexes?: Indexes;
}

/** Reads a live read model through its view, which always shows the live generation. */
export function documentReader(
  runner: Runner,
  { collection, view, indexes = {} }: LiveDocuments,
  check: () => void,
): DocumentReader {
  return {
    getMany: (keys) => existing(() => getMany(runner, view, keys, check), new Map<string, unknown>()),
    get: async (key) =>
      (await existing(() => getMany(runner, view, [key], check), new Map<string, unknown>())).get(key),
    find: async (asked) => {
      const plan = findPlan(collection, indexes, asked);
      check();
      const { sql, values } = findStatement(view, plan);
      const rows = await existing(() => query<Row>(runner, sql, values), []);
      return pageOf(
        plan,
        rows.map(({ key, document }) => [key, JSON.parse(document)]),
      );
    },
    count: () => existing(() => count(runner, view, check), 0),
    async *entries() {
      // An empty string is no key, so it stands before every key.
      for (let last = ''; ;) {
        check();
        const sql = `select key, document::text as document from ${view} where key > $1 order by key limit ${PAGE}`;
        const after = last;
        const rows = await existing(() => query<Row>(runner, sql, [after]), []);
        for (const { key, document } of rows) yield [key, JSON.parse(document) as unknown];
        if (rows.length < PAGE) return;
        last = rows.at(-1)?.key ?? last;
      }
    },
  };
}

async function getMany(
  runner: Runner,
  table: string,
  keys: readonly string[],
  check: () => void,
): Promise<Map<string, unknown>> {
  check();
  if (keys.length === 0) return new Map();
  const sql = `select key, document::text as document from ${table} where key = any($1::text[])`;
  const rows = await query<Row>(runner, sql, [textArray(keys)]);
  return new Map(rows.map(({ key, document }) => [key, JSON.parse(document) as unknown]));
}

async function count(runner: Runner, view: string, check: () => void): Promise<number> {
  check();
  const [row] = await query<{ count: string }>(runner, `select count(*) as count from ${view}`);
  return Number(row?.count ?? 0);
}

/** What a read gives, or something else where there is no such table: then nothing was ever live. */
async function existing<Result>(read: () => Promise<Result>, otherwise: Result): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    if (codeOf(error) === UNDEFINED_TABLE) return otherwise;
    throw translate(error, 'a read of documents');
  }
}
