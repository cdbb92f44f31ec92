import {
  createApplication,
  defineEvent,
  InvalidArgumentError,
  memoryStore,
  RevisionConflictError,
  StoreBusyError,
  StreamArchivedError,
  type NewEvent,
} from '@refold/core';
import {
  migrationSql,
  NewerSchemaError,
  OutdatedSchemaError,
  postgresStore,
  sqlProjection,
  type PostgresStore,
  type PostgresStoreOptions,
} from '@refold/postgres';
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from './server.js';

after(stopTestDatabase);

/** The version that the migrations lead to. */
const NEWEST = readdirSync(new URL('../migrations/', import.meta.url)).filter((name) =>
  name.endsWith('.sql'),
).length;

const Counted = defineEvent('Counted', (by: number) => ({ by }));

const happened = (): NewEvent => ({ id: randomUUID(), type: 'Happened', data: {} });

describe('postgresStore', () => {
  let schema: string;
  let sql: postgres.Sql;
  const opened: PostgresStore[] = [];

  beforeEach(async () => {
    schema = `It's a "schema" ${randomUUID().slice(0, 8)}`;
    sql = postgres(await testDatabase(), { max: 4, onnotice: () => {} });
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    await sql.unsafe(`drop schema if exists ${quoted()} cascade`);
    await sql.end();
  });

  const quoted = (): string => `"${schema.replaceAll('"', '""')}"`;
  const open = async (options: PostgresStoreOptions = {}): Promise<PostgresStore> => {
    const store = await postgresStore(await testDatabase(), { schema, ...options });
    opened.push(store);
    return store;
  };

  describe('in a transaction of the user', () => {
    it('commits events and rows together, or neither', async () => {
      const store = await open();
      await sql.unsafe(`create table ${quoted()}.orders (id text)`);
      const place = (id: string, fails: boolean): Promise<unknown> =>
        sql.begin(async (transaction) => {
          await transaction.unsafe(`insert into ${quoted()}.orders values ('${id}')`);
          await store.append(`order-${id}`, [happened()], { transaction, expected: 'no-stream' });
          if (fails) throw new Error('undone');
        });
      await place('1', false);
      expect(await failureOf(place('2', true))).to.have.property('message', 'undone');
      expect(await store.head()).to.equal(1);
      expect(await sql.unsafe(`select id from ${quoted()}.orders`)).to.deep.equal([{ id: '1' }]);
    });

    it('fails a conflicting append alone, and the transaction goes on', async () => {
      const store = await open();
      await store.append('order-1', [happened()]);
      await sql.begin(async (transaction) => {
        const error = await failureOf(
          store.append('order-1', [happened()], { transaction, expected: 'no-stream' }),
        );
        expect(error).to.be.instanceOf(RevisionConflictError).and.to.include({ actual: 0 });
        await store.append('order-2', [happened()], { transaction });
      });
      expect(await store.head()).to.equal(2);
    });

    it('takes part in a unit of the store, and refuses one of another store', async () => {
      const store = await open();
      await store.transaction(async (unit) => {
        await store.append('order-1', [happened()], { transaction: unit });
        expect(await unit.readAll().toArray()).to.have.length(1);
      });
      expect(await store.head()).to.equal(1);
      await memoryStore().transaction(async (unit) => {
        const append = store.append('order-1', [happened()], { transaction: unit as never });
        expect(await failureOf(append)).to.be.instanceOf(InvalidArgumentError);
      });
    });

    it('learns who holds it up when it waits too long, and goes on, with a pool of one connection too', async () => {
      const options = { lockTimeoutMs: 100 };
      const store = await postgresStore(postgres(await testDatabase(), { max: 1 }), { schema, ...options });
      opened.push(store);
      await sql.begin(async (holding) => {
        await store.append('order-1', [happened()], { transaction: holding });
        await store.transaction(async (unit) => {
          const error = await failureOf(store.append('order-2', [happened()], { transaction: unit }));
          expect(error).to.be.instanceOf(StoreBusyError);
          expect((error as StoreBusyError).holders).to.have.length(1);
          expect(await unit.sql`select 1 as one`).to.deep.equal([{ one: 1 }]);
        });
        const inline = store.append('order-2', [happened()], { inline: () => Promise.resolve() });
        expect(await failureOf(inline)).to.be.instanceOf(StoreBusyError);
      });
      expect(await store.head()).to.equal(1);
    });

    it('that sees an old state of the log is refused, and nothing is written out of order', async () => {
      const store = await open();
      await sql.begin('isolation level repeatable read', async (transaction) => {
        await transaction`select count(*) from pg_class`;
        await store.append('order-1', [happened()]);
        const error = await failureOf(store.append('order-2', [happened()], { transaction }));
        expect(error).to.be.instanceOf(InvalidArgumentError).and.to.include({ argument: 'transaction' });
      });
      expect(await store.append('order-2', [happened()])).to.include({ revision: 0, position: 2 });
    });

    it('that took its transaction id early and holds others up is named, and nothing is skipped', async () => {
      const store = await open({ lockTimeoutMs: 200 });
      const watched = await open();
      await sql.begin(async (transaction) => {
        await transaction`select pg_current_xact_id()`;
        await store.append('order-1', [happened()]);
        await store.append('order-2', [happened()], { transaction });
        expect(await watched.head(), 'readers do not wait').to.equal(1);
        const [holder, ...more] = await watched.lockHolders();
        expect(more).to.deep.equal([]);
        expect(holder).to.have.property('pid').that.is.a('number');
        const error = await failureOf(store.append('order-3', [happened()]));
        expect(error).to.be.instanceOf(StoreBusyError);
        expect((error as StoreBusyError).holders.map(({ pid }) => pid)).to.deep.equal([holder?.pid]);
      });
      await store.append('order-3', [happened()]);
      const log = await watched.readAll().toArray();
      expect(log.map(({ stream, position }) => [stream, position])).to.deep.equal([
        ['order-1', 1],
        ['order-2', 2],
        ['order-3', 3],
      ]);
      expect(await store.lockHolders()).to.deep.equal([]);
    });
  });

  it('learns what became of an append whose connection was cut, and appends it once', async () => {
    const store = await open();
    const event = happened();
    let appending: Promise<unknown> | undefined;
    await sql.begin(async (transaction) => {
      await store.append('order-0', [happened()], { transaction });
      appending = store.append('order-1', [event], { expected: 'no-stream' });
      for (let cut = 0; cut === 0; await sleep(5)) {
        const rows = await sql`select pg_terminate_backend(pid) as cut from pg_stat_activity
          where application_name = 'refold' and wait_event = 'advisory' and query like ${`%${schema.slice(-8)}%`}`;
        cut = rows.length;
      }
    });
    expect(await appending).to.include({ stream: 'order-1', revision: 0, position: 2 });
    expect(await store.append('order-1', [event], { expected: 'no-stream' })).to.include({ position: 2 });
    expect(await store.head()).to.equal(2);
  });

  it('wakes those who wait when its listening connection was cut', async () => {
    const [reader, writer] = [await open({ pollMs: 60_000 }), await open()];
    await writer.append('order-1', [happened()]);
    expect(await reader.changes(0)).to.equal(1);
    const waiting = reader.changes(1);
    const name = `%listen "refold:${schema.slice(0, 5)}%`;
    for (let cut = 0; cut === 0; await sleep(5)) {
      const rows =
        await sql`select pg_terminate_backend(pid) as cut from pg_stat_activity where query like ${name}
        and query like ${`%${schema.slice(-8)}%`} and pid <> pg_backend_pid()`;
      cut = rows.length;
    }
    await writer.append('order-1', [happened()]);
    expect(await waiting).to.equal(2);
  });

  it('refuses to change, delete or truncate events by SQL', async () => {
    const store = await open();
    await store.append('order-1', [happened()]);
    for (const statement of [
      `update ${quoted()}.events set type = 'Changed'`,
      `delete from ${quoted()}.events`,
      `truncate ${quoted()}.events`,
    ]) {
      expect(await failureOf(sql.unsafe(statement))).to.have.property('code', '23000');
    }
    expect(await store.readAll().toArray()).to.have.length(1);
  });

  it('replays what its SQL function archives, keeps its ids taken, and its positions', async () => {
    const store = await open();
    const events = [happened(), happened(), happened()];
    await store.append('order-1', events);
    await sql.unsafe(`select ${quoted()}.archive('order-1', 2, 1000)`);
    expect(await store.readStream('order-1').toArray()).to.have.length(1);
    await sql.unsafe(`select ${quoted()}.archive('order-1', null, 1000)`);
    const log = await store.readAll().toArray();
    expect(log.map(({ id, position }) => [id, position])).to.deep.equal(
      events.map(({ id }, at) => [id, at + 1]),
    );
    expect(await store.head()).to.equal(3);
    const error = await failureOf(store.append('order-1', [happened()]));
    expect(error).to.be.instanceOf(StreamArchivedError).and.to.include({ stream: 'order-1' });
    expect(await store.append('order-1', events)).to.include({ revision: 2, position: 3 });
    expect(await store.append('order-2', [happened()])).to.include({ position: 4 });
  });

  describe('migrations', () => {
    it('can be printed, run by hand, and are then found done', async () => {
      const error = await failureOf(open({ migrate: 'check' }));
      expect(error)
        .to.be.instanceOf(OutdatedSchemaError)
        .and.to.include({ schema, found: 0, needed: NEWEST });
      const session = postgres(await testDatabase(), { max: 1, onnotice: () => {} });
      await session.unsafe(migrationSql({ schema }));
      await session.end();
      const store = await open({ migrate: 'check' });
      expect(await store.append('order-1', [happened()])).to.include({ position: 1 });
    });

    it('are run once by 5 stores that open at the same time', async () => {
      await Promise.all(Array.from({ length: 5 }, () => open()));
      const rows = await sql.unsafe(`select version from ${quoted()}.migrations order by version`);
      expect(rows.map(({ version }) => Number(version))).to.deep.equal(
        Array.from({ length: NEWEST }, (_, index) => index + 1),
      );
    });

    it('of a newer Refold are left alone', async () => {
      await open();
      await sql.unsafe(`insert into ${quoted()}.migrations (version, name) values (${NEWEST + 1}, 'later')`);
      expect(await failureOf(open()))
        .to.be.instanceOf(NewerSchemaError)
        .and.to.include({ found: NEWEST + 1, known: NEWEST });
    });
  });

  it('gives arrays to SQL and back', async () => {
    const store = await open();
    await store.transaction(async ({ sql }) => {
      const values = {
        texts: ['a "b"', 'c\\d', '{e,f}', 'NULL', '', null],
        numbers: [
          [1, 2],
          [3, 4],
        ],
      };
      const { texts, numbers } = values;
      const [row] = await sql`select ${sql.array(texts)}::text[] as texts, ${numbers}::int[] as numbers,
        array[true, null] as flags, '{}'::int[] as none, '[0:1]={5,6}'::int[] as bounds, ${['x']}::text[] as plain`;
      expect(row).to.deep.equal({ ...values, flags: [true, null], none: [], bounds: [5, 6], plain: ['x'] });
    });
  });

  it('runs SQL projections, inline and behind, and rebuilds them', async () => {
    const totals = (mode: 'inline' | 'async') =>
      sqlProjection(`totals_${mode}`, {
        mode,
        tables: {
          [`sums_${mode}`]: (table) =>
            `create table ${table} (stream text primary key, total integer not null)`,
        },
      }).on(Counted, async ({ stream, data }, { unit, table }) => {
        const name = table(`sums_${mode}`);
        const upsert = `insert into ${name} as t values ($1, $2) on conflict (stream) do update set total = t.total + $2`;
        await unit.sql.unsafe(upsert, [stream, data.by]);
      });
    const projections = [totals('inline'), totals('async')];
    const application = createApplication({ store: await open(), projections });
    for (const by of [1, 2, 3]) await application.append(`count-${by % 2}`, [Counted(by)]);
    const read = (mode: string): Promise<unknown> =>
      sql.unsafe(`select stream, total from ${quoted()}.sums_${mode} order by stream`);
    const expected = [
      { stream: 'count-0', total: 2 },
      { stream: 'count-1', total: 4 },
    ];
    expect(await read('inline')).to.deep.equal(expected);
    await application.catchUp();
    expect(await read('async')).to.deep.equal(expected);
    for (const projection of projections) await application.rebuild(projection);
    expect([await read('inline'), await read('async')]).to.deep.equal([expected, expected]);
  });
});

/** What a promise rejects with. Fails if it does not. */
async function failureOf(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('Expected a failure');
}
