import { ImportItemError, StoreBusyError } from '@refold/core';
import { postgresStore, type PostgresStore, type PostgresStoreOptions } from '@refold/postgres';
import { assert } from 'chai';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { importItems } from './import-items.js';
import { stopTestDatabase, testDatabase } from './server.js';

after(stopTestDatabase);

const PROGRAM = fileURLToPath(new URL('./import-child.js', import.meta.url));

describe('import into PostgreSQL', () => {
  let schema: string;
  let sql: postgres.Sql;
  const opened: PostgresStore[] = [];

  beforeEach(async () => {
    schema = `import ${randomUUID().slice(0, 8)}`;
    sql = postgres(await testDatabase(), { max: 2, onnotice: () => {} });
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    await sql.unsafe(`drop schema if exists "${schema}" cascade`);
    await sql.end();
  });

  const open = async (options: PostgresStoreOptions = {}): Promise<PostgresStore> => {
    const store = await postgresStore(await testDatabase(), { schema, ...options });
    opened.push(store);
    return store;
  };

  /** Kills a process that imports, as soon as it has told of so many chunks; returns what it told. */
  async function killedAfter(chunks: number, count: number): Promise<number[]> {
    const child = fork(PROGRAM, [await testDatabase(), schema, String(count)]);
    const ended = once(child, 'exit');
    const told: number[] = [];
    child.on('message', (imported: number) => {
      told.push(imported);
      if (told.length === chunks) child.kill('SIGKILL');
    });
    const [code, signal] = (await ended) as [number | null, string | null];
    assert.equal(signal, 'SIGKILL', `the child ended by itself with code ${code}`);
    return told;
  }

  async function assertImported(store: PostgresStore, count: number): Promise<void> {
    const log = await store.readAll().toArray();
    assert.deepEqual(
      log.map(({ position, data, stream, revision }) => [position, data, stream, revision]),
      Array.from({ length: count }, (_, index) => [
        index + 1,
        { index },
        `order-${index % 5}`,
        Math.floor(index / 5),
      ]),
    );
  }

  it('goes on where it was, however often the process is killed', async () => {
    const count = 4000;
    let acknowledged = 0;
    for (const chunks of [1, 2, 5, 3]) {
      const told = await killedAfter(chunks, count);
      assert.isAtLeast(told[0] ?? 0, acknowledged + 50, 'it goes on behind what was acknowledged');
      acknowledged = told.at(-1) ?? 0;
      assert.isBelow(acknowledged, count, 'it was killed in its midst');
    }
    const store = await open();
    assert.equal((await store.import('legacy', importItems(count))).imported, count);
    await assertImported(store, count);
  });

  it('gives the connection back and can be called again after a COPY that the server refused', async () => {
    const store = await open();
    const id = randomUUID();
    // The copy of the id is in the last piece of its COPY, whose refusal the driver does not tell of by itself.
    await store.append('order-0', [{ id, type: 'Happened', data: {} }]);
    for (let time = 0; time < 12; time++) {
      const broken = [...importItems(9)(0), { id, stream: 'order-1', type: 'Imported', data: {} }];
      const error = await store.import(`broken ${time}`, () => broken).catch((thrown: unknown) => thrown);
      assert.instanceOf(error, ImportItemError);
      assert.propertyVal(error, 'item', 10);
    }
    const held = await sql`select count(*)::int as count from pg_stat_activity
      where application_name = 'refold' and state like 'idle in transaction%'
        and query like ${`%${schema}%`}`;
    assert.equal(held[0]?.count, 0);
    assert.equal(await store.head(), 1 + 12 * 9);
  });

  it('names the item in a chunk of many pieces that the server refuses early', async () => {
    const store = await open();
    const id = randomUUID();
    await store.append('order-0', [{ id, type: 'Happened', data: {} }]);
    const text = 'x'.repeat(5000);
    const items = [...importItems(3000)(0)].map((item, index) => ({
      ...item,
      data: { index, text },
      id: index === 1200 ? id : undefined,
    }));
    const error = await store.import('legacy', () => items).catch((thrown: unknown) => thrown);
    assert.instanceOf(error, ImportItemError);
    assert.propertyVal(error, 'item', 1201);
    assert.equal(await store.head(), 1201);
  });

  it('waits for a transaction that holds up appends, as long as an append does', async () => {
    const store = await open({ lockTimeoutMs: 100 });
    await sql.begin(async (transaction) => {
      await store.append('order-1', [{ type: 'Happened', data: {} }], { transaction });
      const error = await store.import('legacy', importItems(10)).catch((thrown: unknown) => thrown);
      assert.instanceOf(error, StoreBusyError);
    });
    await store.import('legacy', importItems(10));
    assert.equal(await store.head(), 11);
  });

  it('works on a pool of one connection', async () => {
    const pool = postgres(await testDatabase(), { max: 1, onnotice: () => {} });
    const store = await postgresStore(pool, { schema });
    await store.import('legacy', importItems(1000), { batchSize: 100 });
    await assertImported(store, 1000);
    await store.close();
    await pool.end();
  });
});
