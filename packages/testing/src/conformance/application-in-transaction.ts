import {
  AggregateNotFoundError,
  createApplication,
  decider,
  defineEvent,
  documentProjection,
  InvalidArgumentError,
  revisionOf,
  RevisionConflictError,
  silentLogger,
  type Application,
  type ProjectionMode,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import { failure, gate, logOf, outcome } from './expectations.js';
import { itNeeds, useStores, type Capability, type StoreHarness } from './harness.js';
import { acquired, createCounting, partitionOf } from './read-models.js';

const Paid = defineEvent('Paid', (amount: number) => ({ amount }));

const Purse = decider({
  category: 'purse',
  events: [Paid],
  snapshotEvery: 3,
  initial: () => ({ total: 0 }),
  decide: (amount: number) => Paid(amount),
  evolve: ({ total }, { data }) => ({ total: total + data.amount }),
});

const totals = (mode: ProjectionMode) =>
  documentProjection('totals', { mode, initial: () => ({ total: 0 }) }).on(
    Paid,
    ({ total }, { data }) => ({ total: total + data.amount }),
    { key: () => 'all' },
  );

/** Aggregates and inline projections inside a transaction of the store. */
export function describeApplicationInTransaction(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>, also: readonly Capability[] = []): void =>
    itNeeds(harness, ['transactions', ...also], title, body);

  describe('an application inside a transaction', () => {
    const stores = useStores(harness);
    const application = (store: Store): Application =>
      createApplication({ store, aggregates: [Purse], logger: silentLogger });

    itCan('saves aggregates, appends and moves a checkpoint together', async () => {
      const store = await stores.open();
      const app = application(store);
      const purses = app.repository(Purse);
      await purses.create('1', (purse) => purse.execute(1));
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.transaction(async (transaction) => {
        await transaction.advance(lease, 0, 1);
        const { revision } = await purses.update('1', (purse) => purse.execute(2), { transaction });
        assert.equal(revision, 1);
        await purses.create('2', (purse) => purse.execute(3), { transaction });
        await purses.upsert('3', (purse) => purse.execute(4), { transaction });
        await app.append('purse-4', [Paid(5)], { transaction, expected: 'no-stream' });
        const loaded = await purses.load('4', { transaction });
        loaded.execute(6);
        assert.equal((await purses.save(loaded, { transaction })).revision, 1);
      });
      assert.equal((await partitionOf(store, generation)).position, 1);
      const found = await Promise.all(['1', '2', '3', '4'].map((id) => purses.load(id)));
      assert.deepEqual(
        found.map(({ state: { total } }) => total),
        [3, 3, 4, 11],
      );
    });

    itCan('loads what the transaction has appended, several times over', async () => {
      const store = await stores.open();
      const purses = application(store).repository(Purse);
      await purses.create('1', (purse) => purse.execute(1));
      await store.transaction(async (transaction) => {
        for (let total = 2; total <= 9; total++) {
          await purses.update('1', (purse) => purse.execute(1), { transaction });
          const purse = await purses.load('1', { transaction });
          assert.deepEqual([purse.state.total, revisionOf(purse)], [total, total - 1]);
        }
        assert.equal((await purses.load('1')).state.total, 1);
      });
      assert.equal((await purses.load('1')).state.total, 9);
      assert.equal((await store.loadSnapshot('purse-1'))?.revision, 8);
    });

    itCan('that is undone leaves nothing in the cache or in a snapshot', async () => {
      const store = await stores.open();
      const purses = application(store).repository(Purse);
      await purses.create('1', (purse) => purse.execute(1));
      await purses.update('1', (purse) => purse.execute(1));
      await outcome(() =>
        store.transaction(async (transaction) => {
          for (let time = 0; time < 3; time++) {
            await purses.update('1', (purse) => purse.execute(100), { transaction });
          }
          await purses.create('2', (purse) => purse.execute(100), { transaction });
          throw new Error('undone');
        }),
      );
      assert.isUndefined(await store.loadSnapshot('purse-1'));
      assert.isUndefined(await purses.find('2'));
      const { revision } = await purses.update('1', (purse) => {
        assert.equal(purse.state.total, 2);
        purse.execute(1);
      });
      assert.equal(revision, 2);
      assert.equal((await purses.load('1')).state.total, 3);
    });

    itCan('does not call an update again that conflicts: the transaction is to be done again', async () => {
      const store = await stores.open();
      const purses = application(store).repository(Purse);
      await purses.create('1', (purse) => purse.execute(1));
      let calls = 0;
      await store.transaction(async (transaction) => {
        const update = purses.update(
          '1',
          async (purse) => {
            calls += 1;
            await store.append('purse-1', [{ type: 'Paid', data: { amount: 7 } }], { transaction });
            purse.execute(1);
          },
          { transaction },
        );
        const error = await failure(RevisionConflictError, 'REVISION_CONFLICT', () => update);
        assert.include(error, { expected: 0, actual: 1 });
      });
      assert.equal(calls, 1);
      assert.equal((await purses.load('1')).state.total, 8);
    });

    itCan('tells a missing aggregate from the unit of another store', async () => {
      const [store, other] = [await stores.open(), await stores.open()];
      const purses = application(store).repository(Purse);
      await store.transaction((transaction) =>
        failure(AggregateNotFoundError, 'AGGREGATE_NOT_FOUND', () =>
          purses.update('1', (purse) => purse.execute(1), { transaction }),
        ),
      );
      await other.transaction((transaction) =>
        failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
          purses.update('1', (purse) => purse.execute(1), { transaction }),
        ),
      );
    });

    itCan(
      'keeps inline projections, which are undone with the transaction',
      async () => {
        const store = await stores.open();
        const projection = totals('inline');
        const app = createApplication({ store, projections: [projection], logger: silentLogger });
        const [appended, release] = [gate(), gate()];
        const failed = outcome(() =>
          app.transaction(async (transaction) => {
            await app.append('purse-1', [Paid(100)], { transaction });
            appended.open();
            await release.opened;
            throw new Error('undone');
          }),
        );
        await appended.opened;
        assert.isUndefined(await app.readModel(projection).get('all'));
        release.open();
        await failed;
        await app.transaction(async (transaction) => {
          await app.append('purse-1', [Paid(1)], { transaction });
          await app.append('purse-1', [Paid(2)], { transaction });
        });
        assert.deepEqual(await app.readModel(projection).get('all'), { total: 3 });
        assert.lengthOf(await logOf(store), 2);
      },
      ['inline'],
    );

    itCan(
      'leaves an inline projection that is not there yet to catch up, instead of waiting for itself',
      async () => {
        const store = await stores.open();
        const projection = totals('inline');
        const app = createApplication({ store, projections: [projection], logger: silentLogger });
        await store.transaction((transaction) => app.append('purse-1', [Paid(1)], { transaction }));
        await app.append('purse-1', [Paid(2)]);
        assert.deepEqual(await app.readModel(projection).get('all'), { total: 3 });
      },
      ['inline'],
    );
  });
}
