import { createApplication, defineEvent, documentProjection, silentLogger } from '@refold/core';
import { sqlProjection, type PostgresStore, type PostgresStoreOptions } from '@refold/postgres';
import { expect } from 'chai';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import { Fixture, happened } from './fixture.js';
import { stopTestDatabase } from './server.js';
import { TransactionPooler } from './transaction-pooler.js';

after(stopTestDatabase);

const Counted = defineEvent('Counted', (by: number) => ({ by }));

/** Fewer than the stores have connections. */
const BACKENDS = 3;

describe('behind a pooler in transaction mode', () => {
  let fixture: Fixture;
  let pooler: TransactionPooler;

  beforeEach(async () => {
    fixture = await Fixture.create();
    pooler = await TransactionPooler.before(fixture.address, { size: BACKENDS });
    fixture.defer(() => pooler.close());
  });
  afterEach(() => fixture.end());

  const open = (options: PostgresStoreOptions = {}, prepare = false): Promise<PostgresStore> => {
    const { hostname, port, username, password, pathname } = new URL(pooler.address);
    const login = { user: username, password, database: pathname.slice(1) };
    return fixture.open(
      { listen: fixture.address, ...options },
      { host: hostname, port: Number(port), ...login, prepare },
    );
  };

  for (const [how, listen] of [
    ['listens beside it', undefined],
    ['polls', false],
  ] as const) {
    it(`an application that ${how} appends from 3 stores, projects inline and behind, rebuilds, and wakes`, async () => {
      const stores = await Promise.all(
        [1, 2, 3].map(() => open(listen === false ? { listen, pollMs: 20 } : {})),
      );
      const sums = (mode: 'inline' | 'async') =>
        documentProjection(`sums_${mode}`, { mode, initial: () => ({ sum: 0 }) }).on(
          Counted,
          ({ sum }, { data }) => ({
            sum: sum + data.by,
          }),
        );
      const rows = sqlProjection('counted', {
        tables: { counted: (table) => `create table ${table} (position bigint primary key)` },
      }).on(Counted, async ({ position }, { unit, table }) => {
        await unit.sql`insert into ${unit.sql.unsafe(table('counted'))} values (${position})`;
      });
      const projections = [sums('inline'), sums('async'), rows];
      const apps = stores.map((store) => createApplication({ store, projections, logger: silentLogger }));
      const [app] = apps;
      if (!app) throw new Error('There is no store');
      const ended = new AbortController();
      const running = app.worker().run({ signal: ended.signal });
      await Promise.all(
        apps.flatMap((one, at) =>
          Array.from({ length: 20 }, (_, n) => one.append(`count-${(n + at) % 4}`, [Counted(1)])),
        ),
      );
      for (const projection of projections) await app.waitFor(projection, 60);
      await app.rebuild(rows);
      ended.abort();
      await running;
      for (const name of ['sums_inline', 'sums_async']) {
        const found = await stores[1]?.documents(name).getMany(['0', '1', '2', '3']);
        expect([...(found?.values() ?? [])]).to.deep.equal(Array.from({ length: 4 }, () => ({ sum: 15 })));
      }
      const [counted] = await fixture.sql.unsafe(
        `select count(*)::int as count from ${fixture.quoted}.counted`,
      );
      expect(counted?.count).to.equal(60);
    });
  }

  it('a transaction with an append in it has a backend for itself, and leaves nothing behind in its session', async () => {
    const store = await open();
    await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        store.transaction(async (unit) => {
          await unit.sql.unsafe(`create table ${fixture.quoted}.made_${n} (id text)`);
          await store.append(`order-${n % 3}`, [happened()], { transaction: unit });
        }),
      ),
    );
    expect(await store.head()).to.equal(12);
    const sessions = fixture.pool(pooler.address, { max: 1, prepare: false });
    for (let backend = 0; backend < 2 * BACKENDS; backend++) {
      const [row] = await sessions`select current_setting('lock_timeout') as lock, pg_backend_pid() as pid,
        current_setting('idle_in_transaction_session_timeout') as idle,
        (select count(*)::int from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') as locks,
        (select count(*)::int from pg_listening_channels()) as channels,
        (select count(*)::int from pg_prepared_statements where name <> '') as statements`;
      expect(row).to.include({ lock: '0', idle: '0', locks: 0, channels: 0, statements: 0 });
    }
  });

  it('a client that keeps prepared statements fails in transactions', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 6 }, async (_, n) => {
        const store = await open({}, true);
        for (let at = 0; at < 5; at++) {
          await store.transaction((unit) =>
            store.append(`order-${n}`, [happened()], { transaction: unit }).then(() => {}),
          );
        }
      }),
    );
    const codes = outcomes.map((one) =>
      'reason' in one ? (one.reason as { code?: string }).code : undefined,
    );
    expect(codes, 'no such prepared statement, or the transaction that this undid').to.include.oneOf([
      '26000',
      '25P02',
    ]);
  });
});
