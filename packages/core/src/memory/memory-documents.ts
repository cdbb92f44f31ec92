import type { Indexes } from '../store/document-query.js';
import { findPlan, pageOf } from '../store/find-plan.js';
import { toJson } from '../store/prepare-append.js';
import { compareText } from '../store/text-order.js';
import type { DocumentAccess, DocumentReader } from '../store/state-store.js';
import { findAmong } from './memory-find.js';
import type { MemoryTable } from './memory-table.js';

/** Finds the table behind a collection when it is used; it throws, or returns undefined, when there is none. */
type FindTable = () => MemoryTable<string> | undefined;

/** Reads the documents of a generation that may come and go. */
export function documentReader(find: FindTable, collection: string, indexes: Indexes = {}): DocumentReader {
  const getMany: DocumentReader['getMany'] = async (keys) => readMany(find(), keys);
  return {
    getMany,
    get: async (key) => (await getMany([key])).get(key),
    find: async (query) => {
      const plan = findPlan(collection, indexes, query);
      return pageOf(plan, findAmong(find()?.entries() ?? [], plan));
    },
    count: async () => find()?.entries().length ?? 0,
    async *entries() {
      const entries = find()?.entries() ?? [];
      for (const [key, json] of entries.sort(([a], [b]) => compareText(a, b)))
        yield [key, JSON.parse(json) as unknown];
    },
  };
}

/** Reads and writes documents of a table in a transaction. */
export function documentAccess(find: () => MemoryTable<string>, collection: string): DocumentAccess {
  return {
    getMany: async (keys) => readMany(find(), keys),
    putMany: async (documents) => {
      const table = find();
      for (const [key, document] of documents)
        table.set(key, toJson(document, `document "${key}" of ${collection}`));
    },
    deleteMany: async (keys) => {
      const table = find();
      for (const key of keys) table.delete(key);
    },
  };
}

function readMany(table: MemoryTable<string> | undefined, keys: readonly string[]): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const key of keys) {
    const json = table?.get(key);
    if (json !== undefined) found.set(key, JSON.parse(json));
  }
  return found;
}
