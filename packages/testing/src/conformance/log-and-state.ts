import { NestedTransactionError, type Store } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, gate, logIds, logOf, newEvent, outcome } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import { acquired, COUNTERS, createCounting, partitionOf, put, visible } from './read-models.js';

/** State transactions beside appends. */
export function describeLogAndState(harness: StoreHarness<Store>): void {
  describe('a transaction that takes long', () => {
    const stores = useStores(harness);

    it('keeps no reader waiting', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      await store.append('order-1', [newEvent()]);
      const { release, ended } = await longTransaction(store, generation.generation);
      assert.lengthOf(await logOf(store), 1);
      assert.lengthOf(await store.readStream('order-1').toArray(), 1);
      assert.isAbove(await store.head(), 0);
      assert.isAbove(await store.changes(0), 0);
      assert.deepEqual(await visible(store), []);
      release();
      await ended;
    });

    it("takes no other caller's append with it when it is undone", async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const { release, ended } = await longTransaction(store, generation.generation);
      const event = newEvent();
      const appending = store.append('order-1', [event]);
      const saving = store.saveSnapshot({ stream: 'order-1', revision: 0, version: 1, state: 1 });
      release();
      assert.instanceOf(await ended, Error);
      await appending;
      await saving;
      assert.deepEqual(await logIds(store), [event.id]);
      assert.equal((await store.loadSnapshot('order-1'))?.state, 1);
      assert.deepEqual(await visible(store), []);
    });

    itNeeds(harness, 'instances', 'on one instance keeps no reader of another waiting', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const other = await stores.another(store);
      await store.append('order-1', [newEvent()]);
      const { release, ended } = await longTransaction(store, generation.generation);
      assert.lengthOf(await logOf(other), 1);
      assert.deepEqual(await visible(other), []);
      release();
      await ended;
    });

    it('refuses appends of its own, and goes on', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      await store.transaction(async (unit) => {
        for (const append of [
          () => store.append('order-1', [newEvent()]),
          () => store.appendAll([{ stream: 'order-1', events: [newEvent()] }]),
        ]) {
          const error = await failure(NestedTransactionError, 'NESTED_TRANSACTION', append);
          assert.include(error.call, 'append');
        }
        await unit.documents(COUNTERS, generation.generation).putMany(new Map([['a', 1]]));
      });
      assert.deepEqual(await logIds(store), []);
      assert.deepEqual(await visible(store), [['a', 1]]);
    });

    it('lets its store be read, and another store be written, in the meantime', async () => {
      const [store, other] = [await stores.open(), await stores.open()];
      await store.append('order-1', [newEvent()]);
      await store.transaction(async () => {
        assert.lengthOf(await logOf(store), 1);
        assert.isAbove(await store.head(), 0);
        await other.append('order-1', [newEvent()]);
      });
      assert.lengthOf(await logOf(other), 1);
    });

    it('does not keep what its callback began from appending when it has ended', async () => {
      const store = await stores.open();
      const ended = gate();
      const begun: Promise<unknown>[] = [];
      await store.transaction(async () => {
        begun.push(ended.opened.then(() => store.append('order-1', [newEvent()])));
      });
      ended.open();
      await Promise.all(begun);
      assert.lengthOf(await logOf(store), 1);
    });
  });

  describe('appends and transactions at once', () => {
    const stores = useStores(harness);

    it('all commit, each once', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const appends = Array.from({ length: 20 }, (_, index) =>
        store.append(`order-${index % 4}`, [newEvent()]),
      );
      const advances = (async () => {
        for (let position = 0; position < 20; position++) {
          await store.transaction((unit) => unit.advance(lease, position, position + 1));
        }
      })();
      const puts = Array.from({ length: 20 }, (_, index) => put(store, generation, { [`k${index}`]: index }));
      await Promise.all([...appends, advances, ...puts]);
      assert.lengthOf(await logOf(store), 20);
      assert.equal((await partitionOf(store, generation)).position, 20);
      assert.equal(await store.documents(COUNTERS).count(), 20);
    });
  });
}

/** A transaction that has written, waits until it is released, and fails. */
async function longTransaction(
  store: Store,
  generation: number,
): Promise<{ readonly release: () => void; readonly ended: Promise<unknown> }> {
  const [written, released] = [gate(), gate()];
  const ended = outcome(() =>
    store.transaction(async (unit) => {
      await unit.documents(COUNTERS, generation).putMany(new Map([['long', 1]]));
      written.open();
      await released.opened;
      throw new Error('undone');
    }),
  );
  await written.opened;
  return { release: released.open, ended };
}
