import { indexedFields, indexName, type DocumentQuery } from '@refold/core';
import Database from 'better-sqlite3';
import { assert } from 'chai';
import { after, before, describe, it } from 'mocha';
import { useFiles } from './files.js';

const INDEXES = { status: 'string', total: 'number', open: 'boolean', 'customer.city': 'string' } as const;

type Field = keyof typeof INDEXES;

interface Asked {
  readonly query: DocumentQuery;
  /** The steps of each statement that `find` runs. */
  readonly uses: readonly (readonly string[])[];
}

const KEYS = 'SEARCH orders__1 USING PRIMARY KEY (key>?)';
const SORT = 'USE TEMP B-TREE FOR ORDER BY';

const asked: Readonly<Record<string, Asked>> = {
  'a string': { query: { where: { status: 'a' } }, uses: [[search('status', '<expr>=?')]] },
  'a nested field': {
    query: { where: { 'customer.city': 'a' }, after: place('a') },
    uses: [[search('customer.city', '<expr>=? AND key>?')]],
  },
  'a boolean, backward': {
    query: { where: { open: true }, direction: 'backward', after: place('a') },
    uses: [[search('open', '<expr>=? AND key<?')]],
  },
  'one of several': {
    query: { where: { status: { in: ['a', 'b'] } } },
    uses: [[search('status', '<expr>=?'), 'LIST SUBQUERY 1', SORT]],
  },
  'a range': {
    query: { where: { total: { gte: 1, lt: 2 } }, orderBy: 'total', direction: 'backward' },
    uses: [[search('total', '<expr>>? AND <expr><?')]],
  },
  'the first': { query: { orderBy: 'total', limit: 5 }, uses: [[scan('total')]] },
  'the last': { query: { orderBy: 'open', direction: 'backward', limit: 5 }, uses: [[scan('open')]] },
  'the next': {
    query: { orderBy: 'total', limit: 5, after: place('total', 1, 'a') },
    uses: [[search('total', '<expr>=? AND key>?')], [search('total', '<expr>>?')]],
  },
  'the next backward': {
    query: { orderBy: 'status', direction: 'backward', limit: 5, after: place('status', 'a', 'a') },
    uses: [[search('status', '<expr>=? AND key<?')], [search('status', '<expr><?')]],
  },
  'the next by key': { query: { limit: 5, after: place('a') }, uses: [[KEYS]] },
};

describe('find on SQLite', () => {
  const files = useFiles();
  const prepared: string[] = [];
  let original: PropertyDescriptor | undefined;

  before(() => {
    original = Object.getOwnPropertyDescriptor(Database.prototype, 'prepare');
    const prepare = original?.value as (this: unknown, sql: string) => unknown;
    Object.defineProperty(Database.prototype, 'prepare', {
      ...original,
      value(this: unknown, sql: string): unknown {
        prepared.push(sql);
        return prepare.call(this, sql);
      },
    });
  });
  after(() => {
    if (original) Object.defineProperty(Database.prototype, 'prepare', original);
  });

  for (const [name, { query, uses }] of Object.entries(asked)) {
    it(`goes by the index on the field, from the place it begins at: ${name}`, async () => {
      const file = files.fresh();
      const store = await files.open(file);
      const collections = [{ name: 'orders', kind: 'documents', indexes: INDEXES }] as const;
      await store.createGeneration('orders', { version: 1, collections });
      prepared.length = 0;
      await store.documents('orders', INDEXES).find(query);
      const selects = prepared.filter((sql) => sql.startsWith('select key'));
      const other = files.connect(file);
      const steps = selects.map((sql) =>
        planOf(other, sql).filter((step) => !step.startsWith('SCAN json_each')),
      );
      assert.deepEqual(
        steps,
        uses.map((one) => [...one]),
      );
    });
  }
});

function search(field: Field, by: string): string {
  return `SEARCH orders__1 USING INDEX ${nameOf(field)} (${by})`;
}

function scan(field: Field): string {
  return `SCAN orders__1 USING INDEX ${nameOf(field)}`;
}

function nameOf(field: Field): string {
  const [indexed] = indexedFields('orders', { [field]: INDEXES[field] });
  return indexed ? indexName('orders__1', indexed) : assert.fail(`"${field}" is not indexed`);
}

function place(...parts: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

function planOf(database: Database.Database, sql: string): string[] {
  const blanks = Array.from(sql.matchAll(/\?/g), () => null);
  const rows = database.prepare(`explain query plan ${sql}`).all(...blanks) as { detail: string }[];
  return rows.map(({ detail }) => detail);
}
