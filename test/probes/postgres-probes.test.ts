import { randomUUID } from 'node:crypto';
import { postgresStore, type PostgresStore } from '@refold/postgres';
import { expect } from 'chai';
import postgres from 'postgres';
import { stopTestDatabase } from '../postgres/server.js';
import { consumer, count, type Consumer } from './consumer.js';
import { postgresPlace } from './places.js';

after(stopTestDatabase);

// What has made readers of a log in PostgreSQL skip events, or wait for somebody who has nothing to do with them.
describe('probes on PostgreSQL alone', () => {
  let place: Awaited<ReturnType<typeof postgresPlace>>;
  let store: PostgresStore;
  let sql: postgres.Sql;
  let following: Consumer;
  const closing: (() => Promise<unknown>)[] = [];

  const event = (n = 0): { id: string; type: string; data: unknown } => ({
    id: randomUUID(),
    type: 'Numbered',
    data: { n },
  });

  beforeEach(async () => {
    place = await postgresPlace();
    closing.push(() => place.end());
    store = await postgresStore(place.address, { schema: place.schema });
    closing.push(() => store.close());
    sql = postgres(place.address, { max: 5, onnotice: () => {} });
    closing.push(() => sql.end({ timeout: 1 }));
    following = consumer(await place.open());
    closing.push(() => following.stop());
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  const log = async (): Promise<unknown[]> =>
    (await store.readAll().toArray()).map(({ position, stream, revision }) => [position, stream, revision]);

  it('a transaction that took its id early and appends second is neither skipped nor put first', async () => {
    await sql.begin(async (early) => {
      await early`select pg_current_xact_id()`;
      await store.append('order-1', [event(0)]);
      await following.waitFor(1);
      await store.append('order-1', [event(1)], { transaction: early });
      expect(await store.head()).to.equal(1);
    });
    await store.append('order-1', [event(2)]);
    await following.waitFor(3);
    expect(following.handled).to.deep.equal([1, 2, 3]);
    expect(await following.numbers('1')).to.deep.equal([0, 1, 2]);
    expect(await log()).to.deep.equal([
      [1, 'order-1', 0],
      [2, 'order-1', 1],
      [3, 'order-1', 2],
    ]);
  });

  it('no consumer waits for an open write transaction, be it on another table or in another database', async () => {
    const name = `probe_${randomUUID().slice(0, 8)}`;
    await sql.unsafe(`create database ${name}`);
    const elsewhere = postgres({ ...sqlAddress(), database: name, max: 1, onnotice: () => {} });
    await sql.unsafe(`create table ${name} (id integer)`);
    try {
      await elsewhere.unsafe('create table written (id integer)');
      await elsewhere.begin(async (far) => {
        await far`insert into written values (1)`;
        await sql.begin(async (near) => {
          await near.unsafe(`insert into ${name} values (1)`);
          for (const n of count(0, 20)) await store.append('order-1', [event(n)]);
          await following.waitFor(20);
        });
      });
    } finally {
      await elsewhere.end();
      await sql.unsafe(`drop table ${name}`);
      await sql.unsafe(`drop database ${name}`);
    }
    expect(following.handled).to.deep.equal(count(1, 20));
  });

  it('a writer that is rolled back leaves no hole, and holds nobody up', async () => {
    await store.append('order-1', [event()]);
    await sql
      .begin(async (transaction) => {
        await store.append('order-2', [event(), event()], { transaction });
        throw new Error('undone');
      })
      .catch(() => {});
    await store.append('order-3', [event()]);
    await following.waitFor(2);
    expect(await log()).to.deep.equal([
      [1, 'order-1', 0],
      [2, 'order-3', 0],
    ]);
  });

  it('a writer that is killed in its transaction leaves no hole, and holds nobody up', async () => {
    const other = await place.open();
    const killed = store.transaction(async (unit) => {
      await store.append('order-1', [event(), event()], { transaction: unit });
      const [{ pid } = { pid: 0 }] = await unit.sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
      const waiting = other.append('order-2', [event()]);
      await sql`select pg_terminate_backend(${pid})`;
      await waiting;
    });
    expect(await killed.catch((error: unknown) => error)).to.have.property('code', 'STORE_UNAVAILABLE');
    await store.append('order-3', [event()]);
    await following.waitFor(2);
    expect(await log()).to.deep.equal([
      [1, 'order-2', 0],
      [2, 'order-3', 0],
    ]);
  });

  it('a transaction with an append in it that nobody goes on with is ended, and the others go on', async () => {
    const { address, schema } = place;
    const strict = await postgresStore(address, { schema, idleTransactionMs: 200 });
    closing.push(() => strict.close());
    const began = Date.now();
    const forgotten = strict.transaction(async (unit) => {
      await strict.append('order-1', [event()], { transaction: unit });
      const [holder] = await store.lockHolders();
      expect(holder).to.include({ application: 'refold', state: 'idle in transaction' });
      expect(holder?.since.getTime()).to.be.within(began - 1000, Date.now() + 1000);
      // The handler waits for what never comes; the others do not wait for it.
      expect(await store.append('order-2', [event()])).to.include({ position: 1 });
    });
    expect(await forgotten.catch((error: unknown) => error)).to.have.property('code', 'STORE_UNAVAILABLE');
    expect(await log()).to.deep.equal([[1, 'order-2', 0]]);
  });

  function sqlAddress(): postgres.Options<Record<string, postgres.PostgresType>> {
    const { host, port, user, pass } = sql.options;
    return { host: host[0], port: port[0], user, password: pass ?? undefined };
  }
});
