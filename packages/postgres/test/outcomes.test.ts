import {
  AppendOutcomeUnknownError,
  createApplication,
  defineEvent,
  documentProjection,
  DuplicateEventError,
  RevisionConflictError,
  silentLogger,
  StoreUnavailableError,
  type NewEvent,
} from '@refold/core';
import type { PostgresStore, PostgresStoreOptions } from '@refold/postgres';
import { expect } from 'chai';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import type { Cut, CuttingProxy, Outage } from './cutting-proxy.js';
import { failureOf, Fixture, happened } from './fixture.js';
import { stopTestDatabase } from './server.js';

after(stopTestDatabase);

/** The statement of an append, and what ends a transaction. */
const APPEND = /"append(_one|_within)?"\(/;
const COMMIT = /^commit$/;

const Counted = defineEvent('Counted', (by: number) => ({ by }));

const totals = (mode: 'inline' | 'async') =>
  documentProjection(`totals_${mode}`, { mode, initial: () => ({ sum: 0, events: 0 }) }).on(
    Counted,
    ({ sum, events }, { data }) => ({ sum: sum + data.by, events: events + 1 }),
  );

describe('a connection that breaks', () => {
  let fixture: Fixture;
  let proxy: CuttingProxy;
  /** Appends through the proxy; another looks at the log beside it. */
  let store: PostgresStore;
  let witness: PostgresStore;

  beforeEach(async () => {
    fixture = await Fixture.create();
    proxy = await fixture.proxy();
    witness = await fixture.open();
    store = await through();
  });
  afterEach(() => fixture.end());

  const through = (options: PostgresStoreOptions = {}): Promise<PostgresStore> =>
    fixture.open({ listen: false, logger: silentLogger, ...options }, proxy.address);
  const log = async (): Promise<string[]> => (await witness.readAll().toArray()).map(({ id }) => id);
  const idsOf = (...events: readonly NewEvent[]): (string | undefined)[] => events.map(({ id }) => id);

  for (const [cut, when] of [
    ['request', 'before the request arrives'],
    ['between', 'while the server works'],
    ['answer', 'between commit and answer'],
  ] as const satisfies readonly (readonly [Cut, string])[]) {
    describe(when, () => {
      it('leaves an append there once, and its caller knows where', async () => {
        const events = [happened(), happened()];
        const cuts = proxy.cut(cut, APPEND);
        const result = await store.append('order-1', events, { expected: 'no-stream' });
        expect(cuts()).to.equal(1);
        expect(result).to.deep.equal({ stream: 'order-1', revision: 1, position: 2 });
        expect(await log()).to.deep.equal(idsOf(...events));
      });

      it('leaves an append there once if it happens 5 times in a row', async () => {
        const event = happened();
        const cuts = proxy.cut(cut, APPEND, { times: 5 });
        expect(await store.append('order-1', [event], { expected: 'no-stream' })).to.include({ position: 1 });
        expect(cuts()).to.equal(5);
        expect(await log()).to.deep.equal(idsOf(event));
      });

      it('tells each caller of a group its own outcome', async () => {
        const before = happened();
        await store.append('taken-1', [before]);
        const events = Array.from({ length: 8 }, () => happened());
        const cuts = proxy.cut(cut, APPEND);
        const outcomes = await Promise.allSettled([
          ...events.map((event, at) => store.append(`order-${at}`, [event], { expected: 'no-stream' })),
          store.append('taken-1', [happened()], { expected: 'no-stream' }),
          store.append('taken-1', [before]),
          store.append('order-8', [before]),
        ]);
        expect(cuts()).to.equal(1);
        expect(outcomes.slice(0, 8).map((one) => 'value' in one && one.value)).to.deep.equal(
          events.map((_, at) => ({ stream: `order-${at}`, revision: 0, position: at + 2 })),
        );
        const [conflict, repeat, reuse] = outcomes
          .slice(8)
          .map((one): unknown => ('value' in one ? one.value : one.reason));
        expect(conflict).to.be.instanceOf(RevisionConflictError).and.to.include({ actual: 0 });
        expect(repeat).to.deep.equal({ stream: 'taken-1', revision: 0, position: 1 });
        expect(reuse).to.be.instanceOf(DuplicateEventError);
        expect(await log()).to.deep.equal(idsOf(before, ...events));
      });

      it('leaves an append to several streams there once, and whole', async () => {
        const [a, b, c] = [happened(), happened(), happened()];
        const cuts = proxy.cut(cut, APPEND);
        const results = await store.appendAll([
          { stream: 'order-1', events: [a, b], expected: 'no-stream' },
          { stream: 'stock-1', events: [c] },
        ]);
        expect(cuts()).to.equal(1);
        expect(results.map(({ position }) => position)).to.deep.equal([2, 3]);
        expect(await log()).to.deep.equal(idsOf(a, b, c));
      });

      it('runs an inline projection once for an append', async () => {
        const application = createApplication({ store, projections: [totals('inline')] });
        await application.append('count-1', [Counted(1)]);
        const cuts = proxy.cut(cut, COMMIT);
        const result = await application.append('count-1', [Counted(2)], { expected: 0 });
        expect(cuts()).to.equal(1);
        expect(result).to.deep.equal({ stream: 'count-1', revision: 1, position: 2 });
        expect(await witness.documents('totals_inline').get('1')).to.deep.equal({ sum: 3, events: 2 });
      });

      it("lets the user's transaction be repeated as it was: its events are there once", async () => {
        const sql = fixture.pool(proxy.address);
        await sql.unsafe(`create table ${fixture.quoted}.orders (id text primary key)`);
        const event = happened();
        const place = (): Promise<unknown> =>
          sql.begin(async (transaction) => {
            await transaction.unsafe(
              `insert into ${fixture.quoted}.orders values ('1') on conflict do nothing`,
            );
            await store.append('order-1', [event], { transaction, expected: 'no-stream' });
          });
        const cuts = proxy.cut(cut, COMMIT);
        expect(await failureOf(place()))
          .to.have.property('code')
          .that.is.oneOf(['CONNECTION_CLOSED', 'ECONNRESET']);
        await place();
        expect(cuts()).to.equal(1);
        expect(await log()).to.deep.equal(idsOf(event));
        expect(await sql.unsafe(`select id from ${fixture.quoted}.orders`)).to.deep.equal([{ id: '1' }]);
      });

      it('undoes a transaction if it happens at the append in it, and the next one has its connection for itself', async () => {
        await fixture.sql.unsafe(`create table ${fixture.quoted}.orders (id text primary key)`);
        const place = (id: string): Promise<unknown> =>
          store.transaction(async (unit) => {
            await unit.sql.unsafe(`insert into ${fixture.quoted}.orders values ('${id}')`);
            await store.append(`order-${id}`, [happened()], { transaction: unit }).catch(() => {});
            await unit.sql.unsafe(`insert into ${fixture.quoted}.orders values ('${id} went on')`);
          });
        const cuts = proxy.cut(cut, APPEND);
        const [first, ...others] = await Promise.all(
          [1, 2, 3].map((at) => place(String(at)).catch((e: unknown) => e)),
        );
        expect(cuts()).to.equal(1);
        expect(first, 'of the transaction whose connection broke').to.be.instanceOf(StoreUnavailableError);
        expect(others).to.deep.equal([undefined, undefined]);
        const rows = await fixture.sql.unsafe(`select id from ${fixture.quoted}.orders order by id`);
        expect(rows.map(({ id }) => id as string)).to.deep.equal(['2', '2 went on', '3', '3 went on']);
        expect(await log()).to.have.length(2);
      });

      it('leaves a transaction of the store there wholly or not at all, and says that it is not known', async () => {
        const sql = `create table ${fixture.quoted}.made (id text)`;
        const cuts = proxy.cut(cut, COMMIT);
        const making = store.transaction(async (unit) => {
          await store.append('order-1', [happened()], { transaction: unit });
          await unit.sql.unsafe(sql);
        });
        expect(await failureOf(making)).to.be.instanceOf(StoreUnavailableError);
        expect(cuts()).to.equal(1);
        // Waits for whoever still appends.
        await witness.append('order-2', [happened()]);
        const [made] =
          await fixture.sql`select to_regclass(${`${fixture.quoted}.made`}) is not null as there`;
        expect(await witness.readStream('order-1').toArray()).to.have.length(made?.there ? 1 : 0);
        if (cut !== 'between') expect(made?.there).to.equal(cut === 'answer');
      });

      it('lets a projection handle every event once', async () => {
        const projections = [totals('async')];
        const application = createApplication({ store, projections, logger: silentLogger });
        await application.catchUp();
        const cuts = proxy.cut(cut, COMMIT, { times: 3 });
        for (let by = 1; by <= 5; by++) await witness.append('count-1', [{ type: 'Counted', data: { by } }]);
        await application.worker({ batchSize: 2, leaseMs: 500 }).catchUp();
        expect(cuts()).to.equal(3);
        expect(await witness.documents('totals_async').get('1')).to.deep.equal({ sum: 15, events: 5 });
      });
    });
  }

  it('while an append waits for its turn leaves it there once, though the server never noticed', async () => {
    const event = happened();
    const cuts = proxy.cut('between', APPEND);
    let appending: Promise<unknown> | undefined;
    await fixture.sql.begin(async (transaction) => {
      await witness.append('order-0', [happened()], { transaction });
      appending = store.append('order-1', [event], { expected: 'no-stream' });
      // The first statement, whose client is gone, and its repetition, which waits behind it.
      await until(async () => (await waitingAppends()) === 2);
    });
    expect(await appending).to.include({ revision: 0, position: 2 });
    expect(cuts()).to.equal(1);
    expect(await log()).to.have.length(2);
  });

  for (const outage of ['refusing', 'hanging up', 'silent'] as const satisfies readonly Outage[]) {
    describe(`and a database that stays away, ${outage}`, () => {
      it('leaves the outcome unknown to all callers of the group, who can learn it later by repeating', async () => {
        const hasty = await through({ settleTimeoutMs: 100, lockTimeoutMs: 100 });
        const events = Array.from({ length: 3 }, () => happened());
        const append = (at: number, by = hasty): Promise<unknown> =>
          by.append(`order-${at}`, [events[at] ?? happened()], { expected: 'no-stream' });
        proxy.cut('answer', APPEND, { then: outage });
        const errors = await Promise.all([0, 1, 2].map((at) => failureOf(append(at))));
        for (const [at, error] of errors.entries()) {
          expect(error).to.be.instanceOf(AppendOutcomeUnknownError);
          expect((error as AppendOutcomeUnknownError).eventIds).to.deep.equal([events[at]?.id]);
        }
        await proxy.comeBack();
        expect(await Promise.all([0, 1, 2].map((at) => append(at, store)))).to.deep.equal(
          [0, 1, 2].map((at) => ({ stream: `order-${at}`, revision: 0, position: at + 1 })),
        );
        expect(await log()).to.deep.equal(idsOf(...events));
      });

      it('lets an append succeed that is waiting when the database comes back', async () => {
        const event = happened();
        const cuts = proxy.cut('answer', APPEND, { then: outage });
        const appending = store.append('order-1', [event], { expected: 'no-stream' });
        await until(() => Promise.resolve(cuts() === 1));
        await sleep(50);
        await proxy.comeBack();
        expect(await appending).to.include({ revision: 0, position: 1 });
        expect(await log()).to.deep.equal(idsOf(event));
      });
    });
  }

  it('to a database that refuses connections says at once that nothing was appended', async () => {
    proxy.goAway('refusing');
    expect(await failureOf(store.head()), 'notices').to.be.instanceOf(StoreUnavailableError);
    const error = await failureOf(store.append('order-1', [happened()]));
    expect(error).to.be.instanceOf(StoreUnavailableError);
    await proxy.comeBack();
    expect(await store.append('order-1', [happened()])).to.include({ position: 1 });
  });

  it('is not noticed by callers of 3 stores while 20 backends are ended one after the other', async () => {
    const stores = [store, await fixture.open(), await fixture.open()];
    const told: string[] = [];
    const working = new AbortController();
    const writers = stores.map(async (one) => {
      while (!working.signal.aborted) {
        const event = happened();
        const { position } = await one.append(`order-${told.length % 7}`, [event]);
        told[position - 1] = event.id;
      }
    });
    for (let ended = 0; ended < 20; await sleep(5)) ended += await endBackend();
    working.abort();
    await Promise.all(writers);
    expect(await log()).to.deep.equal(told);
  });

  /** Ends the connection of an append, if there is one, and says how many it has ended. */
  async function endBackend(): Promise<number> {
    const rows = await fixture.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'refold' and query like ${`%${fixture.schema.slice(-8)}%append%`} limit 1`;
    return rows.length;
  }

  async function waitingAppends(): Promise<number> {
    const rows = await fixture.sql`select from pg_stat_activity where wait_event = 'advisory'
      and query like ${`%${fixture.schema.slice(-8)}%append%`} and pid <> pg_backend_pid()`;
    return rows.length;
  }
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}
