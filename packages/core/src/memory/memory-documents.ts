import { toJson } from '../store/prepare-append.js';
import type { DocumentAccess, DocumentReader } from '../store/state-store.js';
import type { MemoryTable } from './memory-table.js';

/** Finds the table behind a collection when it is used; it throws, or returns undefined, when there is none. */
type FindTable = () => MemoryTable<string> | undefined;

/** Reads documents of a table that may come and go: those of the live generation, or of a given one. */
export function documentReader(find: FindTable): DocumentReader {
  const getMany = async (keys: readonly string[]): Promise<Map<string, unknown>> => readMany(find(), keys);
  return {
    getMany,
    get: async (key) => readMany(find(), [key]).get(key),
    count: async () => find()?.entries().length ?? 0,
    async *entries() {
      for (const [key, json] of inKeyOrder(find()?.entries() ?? [])) yield [key, JSON.parse(json) as unknown];
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

/** By the bytes of their UTF-8, as databases compare binary text; JavaScript's own order is another beyond U+FFFF. */
function inKeyOrder(entries: readonly [string, string][]): [string, string][] {
  return entries
    .map((entry) => ({ entry, bytes: Buffer.from(entry[0]) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ entry }) => entry);
}
