import { InvalidArgumentError, RevisionConflictError, StoreBusyError, type NewEvent } from '@refold/core';
import { postgresStore, type PostgresStore, type PostgresStoreOptions } from '@refold/postgres';
import { assert } from 'chai';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from './server.js';

after(stopTestDatabase);

const happened = (data: unknown = {}): NewEvent => ({ id: randomUUID(), type: 'Happened', data });

/** What a call rejects with. */
const rejection = (call: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(call).then(
    () => assert.fail('expected a failure'),
    (error: unknown) => error,
  );

describe('an append in a transaction of PostgreSQL', () => {
  let schema: string;
  let sql: postgres.Sql;
  const opened: PostgresStore[] = [];

  beforeEach(async () => {
    schema = `within ${randomUUID().slice(0, 8)}`;
    sql = postgres(await testDatabase(), { max: 4, onnotice: () => {} });
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

  it('that fails takes nothing with it that was asked for at the same time', async () => {
    const store = await open();
    await store.append('order-1', [happened()]);
    await sql.unsafe(`create table "${schema}".notes (note text)`);
    await store.transaction(async (unit) => {
      const conflicting = store.append('order-1', [happened()], { transaction: unit, expected: 'no-stream' });
      const noting = unit.sql.unsafe(`insert into "${schema}".notes values ('kept')`);
      const [error] = await Promise.all([rejection(conflicting), noting]);
      assert.instanceOf(error, RevisionConflictError);
    });
    assert.lengthOf(await sql.unsafe(`select * from "${schema}".notes`), 1);
  });

  it("of the client's takes its turn among others with hooks, each undone alone", async () => {
    const store = await open();
    await sql.begin(async (transaction) => {
      const append = (index: number): Promise<unknown> =>
        store.append(`order-${index % 2}`, [happened(index)], {
          transaction,
          inline: async (_, unit) => {
            await unit.sql`select pg_sleep(0.01)`;
            if (index % 2 === 1) throw new Error('undone');
          },
        });
      const ended = await Promise.allSettled([0, 1, 2, 3, 4, 5].map(append));
      const kept = ended.map(({ status }) => status === 'fulfilled');
      assert.deepEqual(kept, [true, false, true, false, true, false]);
    });
    const log = await store.readAll().toArray();
    assert.deepEqual(
      log.map(({ data, position, revision }) => [data, position, revision]),
      [
        [0, 1, 0],
        [2, 2, 1],
        [4, 3, 2],
      ],
    );
  });

  it('that conflicts leaves others free to append', async () => {
    const store = await open({ lockTimeoutMs: 2000 });
    await sql.begin(async (transaction) => {
      const conflicting = store.append('order-1', [happened()], { transaction, expected: 3 });
      assert.instanceOf(await rejection(conflicting), RevisionConflictError);
      await store.append('order-2', [happened()]);
      await store.append('order-1', [happened()], { transaction });
    });
    assert.equal(await store.head(), 2);
  });

  it('that waits too long for others fails alone', async () => {
    const [store, other] = [await open({ lockTimeoutMs: 100 }), await open()];
    await sql.begin(async (holding) => {
      await other.append('order-1', [happened()], { transaction: holding });
      await store.transaction(async (unit) => {
        const waiting = store.append('order-2', [happened()], { transaction: unit });
        assert.instanceOf(await rejection(waiting), StoreBusyError);
        assert.lengthOf(await unit.sql`select 1`, 1);
      });
    });
    assert.equal(await store.head(), 1);
  });

  for (const isolation of ['repeatable read', 'serializable']) {
    it(`of isolation ${isolation}, which cannot see what it waits for, is refused`, async () => {
      const store = await open();
      await sql.begin(`isolation level ${isolation}`, async (transaction) => {
        for (const inline of [undefined, () => Promise.resolve()]) {
          const refused = store.append('order-1', [happened()], { transaction, inline });
          const error = await rejection(refused);
          assert.instanceOf(error, InvalidArgumentError);
          assert.include(String(error), isolation);
        }
      });
      assert.equal(await store.head(), 0);
    });
  }

  it("works under a database's other default isolation when the store begins it", async () => {
    const pool = postgres(await testDatabase(), {
      max: 2,
      onnotice: () => {},
      connection: { default_transaction_isolation: 'repeatable read' },
    });
    const store = await postgresStore(pool, { schema });
    await store.transaction((transaction) => store.append('order-1', [happened()], { transaction }));
    assert.equal(await store.head(), 1);
    await store.close();
    await pool.end();
  });

  it('bounds how long its transaction may stay idle, and keeps a shorter bound that it has', async () => {
    const store = await open({ idleTransactionMs: 5000 });
    const bound = (transaction: postgres.TransactionSql) =>
      transaction`select current_setting('idle_in_transaction_session_timeout') as bound`;
    for (const [own, expected] of [
      ['0', '5s'],
      ['1h', '5s'],
      ['200ms', '200ms'],
    ] as const) {
      await sql.begin(async (transaction) => {
        await transaction.unsafe(`set local idle_in_transaction_session_timeout = '${own}'`);
        await store.append(`order-${own}`, [happened()], { transaction });
        assert.equal((await bound(transaction))[0]?.bound, expected);
      });
    }
  });
});
