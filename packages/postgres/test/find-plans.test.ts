import { indexedFields, indexName, type DocumentQuery, type Generation } from '@refold/core';
import { postgresStore, type PostgresStore } from '@refold/postgres';
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'mocha';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from './server.js';

after(stopTestDatabase);

const INDEXES = { status: 'string', total: 'number', open: 'boolean', 'customer.city': 'string' } as const;

const DOCUMENTS = 20_000;

interface Asked {
  readonly query: DocumentQuery;
  /** The field whose index the plan uses; the plan must read in the query's order if it has a limit. */
  readonly by: keyof typeof INDEXES;
}

const asked: Readonly<Record<string, Asked>> = {
  'a string': { query: { where: { status: 'rare-7' } }, by: 'status' },
  'a number': { query: { where: { total: 17 } }, by: 'total' },
  'a boolean': { query: { where: { open: true } }, by: 'open' },
  'a nested field': { query: { where: { 'customer.city': 'city-5' } }, by: 'customer.city' },
  'one of several': {
    query: { where: { 'customer.city': { in: ['city-1', 'city-2'] } } },
    by: 'customer.city',
  },
  'a range of numbers': { query: { where: { total: { gte: 10, lt: 20 } } }, by: 'total' },
  'a range of strings': { query: { where: { status: { gt: 'rare-8', lte: 'rare-9' } } }, by: 'status' },
  'the first of a number': { query: { orderBy: 'total', limit: 20 }, by: 'total' },
  'the last of a number': { query: { orderBy: 'total', direction: 'backward', limit: 20 }, by: 'total' },
  'the first of a string': { query: { orderBy: 'status', limit: 20 }, by: 'status' },
  'the last of a boolean': { query: { orderBy: 'open', direction: 'backward', limit: 20 }, by: 'open' },
  'the first of a value': { query: { where: { open: true }, limit: 20 }, by: 'open' },
  'the last of a range': {
    query: { where: { total: { lt: 900 } }, orderBy: 'total', direction: 'backward', limit: 20 },
    by: 'total',
  },
};

describe('find on PostgreSQL', () => {
  const schema = `Plans of "find" ${randomUUID().slice(0, 8)}`;
  const statements: { readonly sql: string; readonly values: unknown[] }[] = [];
  let sql: postgres.Sql;
  let store: PostgresStore;
  let table: string;

  before(async () => {
    sql = postgres(await testDatabase(), {
      max: 2,
      onnotice: () => {},
      debug: (_connection, text, values) => void statements.push({ sql: text, values }),
    });
    store = await postgresStore(sql, { schema });
    const collections = [{ name: 'orders', kind: 'documents', indexes: INDEXES }] as const;
    const generation = await store.createGeneration('orders', { version: 1, collections });
    table = `orders__${generation.generation}`;
    await fill(store, generation);
    await sql.unsafe(`analyze ${quoted(schema)}.${table}`);
  });
  after(async () => {
    await store.close();
    await sql.unsafe(`drop schema ${quoted(schema)} cascade`);
    await sql.end();
  });

  /** The plan of the statement that `find` has run, and the page that it gave. */
  async function planOf(query: DocumentQuery): Promise<{ readonly plan: string; readonly next?: string }> {
    statements.length = 0;
    const { next } = await store.documents('orders', INDEXES).find(query);
    const ran = statements.find((one) => one.sql.includes('order by'));
    if (!ran) throw new Error('find has run no statement');
    const explained = `explain (costs off) ${ran.sql}`;
    const rows = await sql.unsafe<{ 'QUERY PLAN': string }[]>(explained, ran.values as string[]);
    return { plan: rows.map((row) => row['QUERY PLAN']).join('\n'), next };
  }

  function assertUses({ query, by }: Asked, plan: string): void {
    const [field] = indexedFields('orders', { [by]: INDEXES[by] });
    if (!field) throw new Error(`"${by}" is not indexed`);
    expect(plan).to.match(new RegExp(`Index Scan.* (using|on) ${indexName(table, field)}\\b`));
    expect(plan).not.to.include('Seq Scan');
    expect(plan).not.to.include('Filter');
    if (query.limit !== undefined) expect(plan).not.to.include('Sort');
  }

  for (const [name, one] of Object.entries(asked)) {
    it(`goes by the index on the field: ${name}`, async () => {
      const { plan, next } = await planOf(one.query);
      assertUses(one, plan);
      if (one.query.limit === undefined) return;
      expect(next).to.be.a('string');
      const following = await planOf({ ...one.query, after: next });
      assertUses(one, following.plan);
      expect(following.plan, 'it begins behind the place').to.match(/Index Cond: .*\bkey\)? [<>]/);
    });
  }

  it('goes by the keys where no field is named', async () => {
    const { plan, next } = await planOf({ limit: 20 });
    expect(plan).to.include(`using ${table}_pkey`);
    const following = await planOf({ limit: 20, after: next });
    expect(following.plan).to.match(/Index Cond: \(key >/);
  });

  it('refuses text that no document here can have', async () => {
    const orders = store.documents('orders', INDEXES);
    for (const status of ['a\0', '\ud800', { in: ['a', '\udfff'] }, { gte: '\0' }]) {
      const error: unknown = await orders.find({ where: { status } }).catch((thrown: unknown) => thrown);
      expect(error).to.have.property('code', 'INVALID_ARGUMENT');
    }
  });

  it('orders by code point in a database whose own order is that of a language', async function () {
    const [icu] = await sql`select 1 from pg_collation where collprovider = 'i'
      and current_setting('server_version_num')::integer >= 150000 limit 1`;
    if (!icu) this.skip();
    const database = `find_${randomUUID().slice(0, 8)}`;
    await sql.unsafe(
      `create database ${database} template template0 encoding 'UTF8' locale 'C' locale_provider icu icu_locale 'en-US'`,
    );
    const address = new URL(await testDatabase());
    address.pathname = `/${database}`;
    const other = await postgresStore(address.href);
    try {
      const collections = [{ name: 'orders', kind: 'documents', indexes: INDEXES }] as const;
      const { generation } = await other.createGeneration('orders', { version: 1, collections });
      const texts = ['B', 'a', 'Z', 'ä', 'z'];
      const documents = new Map(texts.map((status) => [status, { status }]));
      await other.transaction((unit) => unit.documents('orders', generation).putMany(documents));
      const orders = other.documents('orders', INDEXES);
      const keys = async (query: DocumentQuery): Promise<string[]> =>
        (await orders.find(query)).entries.map(([key]) => key);
      expect(await keys({ orderBy: 'status' })).to.deep.equal(['B', 'Z', 'a', 'z', 'ä']);
      expect(await keys({})).to.deep.equal(['B', 'Z', 'a', 'z', 'ä']);
      expect(await keys({ where: { status: { lt: 'a' } } })).to.deep.equal(['B', 'Z']);
    } finally {
      await other.close();
      await sql.unsafe(`drop database ${database} with (force)`);
    }
  });

  it('has names of indexes that fit, however long those of collections and fields are', async () => {
    const name = 'c'.repeat(48);
    const indexes = { [`${'f'.repeat(60)}.a`]: 'string', [`${'f'.repeat(60)}.b`]: 'string' } as const;
    const collections = [{ name, kind: 'documents', indexes }] as const;
    await store.createGeneration('long_names', { version: 1, collections });
    await store.createGeneration('long_names', { version: 2, collections });
    const rows = await sql`select indexname as name from pg_indexes
      where schemaname = ${schema} and tablename like 'ccc%' and indexname like 'refold%'`;
    expect(new Set(rows.map((row) => String(row.name))).size).to.equal(4);
  });
});

async function fill(store: PostgresStore, { generation }: Generation): Promise<void> {
  const documents = Array.from(
    { length: DOCUMENTS },
    (_, index) =>
      [
        `key-${index}`,
        {
          status: index % 2 ? 'usual' : `rare-${index % 1000}`,
          total: index % 1000,
          open: index % 500 === 0,
          customer: { city: `city-${index % 400}` },
          text: 'x'.repeat(200),
        },
      ] as const,
  );
  await store.transaction((unit) =>
    unit.documents('orders', generation).putMany(new Map<string, unknown>(documents)),
  );
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
