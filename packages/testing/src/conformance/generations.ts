import { InvalidArgumentError, LeaseLostError, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, outcome } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import {
  acquired,
  COUNTERS,
  createCounting,
  documentsNamed,
  handleBatch,
  partitionOf,
  PROCESSOR,
  put,
  visible,
  renewed,
} from './read-models.js';

/** Builds of a read model, side by side, and the swap. */
export function describeGenerations(harness: StoreHarness<StateStore>): void {
  describe('generation', () => {
    const stores = useStores(harness);

    it('is live at once when it is the first, with one partition of all slices', async () => {
      const store = await stores.open();
      assert.deepEqual(await store.generations(PROCESSOR), []);
      const generation = await createCounting(store, { version: 3, after: 10 });
      assert.deepInclude(generation, {
        processor: PROCESSOR,
        generation: 1,
        version: 3,
        status: 'live',
        collections: [COUNTERS],
        startedAfter: 10,
      });
      assert.deepEqual(await store.generations(PROCESSOR), [generation]);
      assert.include(await partitionOf(store, generation), { firstSlice: 0, lastSlice: 1023, position: 10 });
    });

    it('is the same for everyone who asks for the live version', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      assert.equal((await createCounting(store)).generation, generation.generation);
      assert.lengthOf(await store.generations(PROCESSOR), 1);
    });

    it('is the same for 6 who create the first at once', async () => {
      const store = await stores.open();
      await createAtOnce([store]);
    });

    itNeeds(
      harness,
      'instances',
      'is the same for 6 who create the first at once on two instances',
      async () => {
        const store = await stores.open();
        await createAtOnce([store, await stores.another(store)]);
      },
    );

    it('is built beside the live one, unseen by readers, until it is activated', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await put(store, one, { a: 'old', b: 'old' });
      const two = await createCounting(store, { version: 2 });
      assert.equal(two.status, 'building');
      assert.isAbove(two.generation, one.generation);
      await put(store, two, { a: 'new' });
      assert.deepEqual(await visible(store), [
        ['a', 'old'],
        ['b', 'old'],
      ]);
      assert.equal(await store.documents(COUNTERS).count(), 2);
      const building = store.documentsOf(COUNTERS, two.generation);
      assert.deepEqual([...(await building.getMany(['a', 'b']))], [['a', 'new']]);
      assert.equal((await store.documentsOf(COUNTERS, one.generation).getMany(['a'])).get('a'), 'old');

      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      assert.deepEqual(await visible(store), [['a', 'new']]);
      assert.isUndefined(await store.documents(COUNTERS).get('b'));
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ status }) => status),
        ['retired', 'live'],
      );
    });

    it('is seen whole or not at all by a reader of the swap', async () => {
      const store = await stores.open();
      const documents = store.documents(COUNTERS);
      const keys = ['a', 'b', 'c'];
      const one = await createCounting(store);
      await put(store, one, Object.fromEntries(keys.map((key) => [key, 1])));
      let swapped = false;
      const reading = (async () => {
        while (!swapped) {
          const values = [...(await documents.getMany(keys)).values()];
          assert.lengthOf(values, 3);
          assert.equal(new Set(values).size, 1);
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      for (let version = 2; version < 6; version++) {
        const next = await createCounting(store, { version });
        await put(store, next, Object.fromEntries(keys.map((key) => [key, version])));
        await store.transaction((unit) => unit.activate(PROCESSOR, next.generation));
      }
      swapped = true;
      await reading;
    });

    it('stays as it was when the transaction that activates it fails', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      const lease = await acquired(store, one);
      await put(store, one, { a: 'old' });
      const two = await createCounting(store, { version: 2 });
      await outcome(() =>
        store.transaction(async (unit) => {
          await unit.activate(PROCESSOR, two.generation);
          assert.equal((await unit.live(PROCESSOR))?.generation.generation, two.generation);
          throw new Error('undone');
        }),
      );
      assert.deepEqual(await visible(store), [['a', 'old']]);
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ status }) => status),
        ['live', 'building'],
      );
      assert.isTrue(await renewed(store, lease));
    });

    it('takes the leases of the one that it retires', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      const lease = await acquired(store, one);
      const two = await createCounting(store, { version: 2 });
      const building = await acquired(store, two);
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      assert.isFalse(await renewed(store, lease));
      await failure(LeaseLostError, 'LEASE_LOST', () =>
        store.transaction((unit) => unit.advance(lease, 0, 1)),
      );
      assert.isUndefined(await store.acquireLease(lease, { holder: 'one', ttlMs: 600_000 }));
      await store.transaction((unit) => handleBatch(unit, building, { from: 0, to: 1, document: 'new' }));
      assert.deepEqual(await visible(store), [['handled', 'new']]);
    });

    it('is the same for everyone who builds the same version', async () => {
      const store = await stores.open();
      await createCounting(store);
      const two = await createCounting(store, { version: 2, after: 4 });
      const again = await createCounting(store, { version: 2, after: 9 });
      assert.deepInclude(again, { generation: two.generation, startedAfter: 4, status: 'building' });
    });

    it('takes the place of another version that is being built', async () => {
      const store = await stores.open();
      await createCounting(store);
      const two = await createCounting(store, { version: 2 });
      const lease = await acquired(store, two);
      const three = await createCounting(store, { version: 3 });
      assert.isAbove(three.generation, two.generation);
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ version, status }) => [version, status]),
        [
          [1, 'live'],
          [3, 'building'],
        ],
      );
      assert.isFalse(await renewed(store, lease));
    });

    it('is a new one when a fresh one is asked for', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      const two = await createCounting(store, { version: 2 });
      await put(store, two, { a: 1 });
      const lease = await acquired(store, two);
      const fresh = await createCounting(store, { version: 2, fresh: true });
      assert.isAbove(fresh.generation, two.generation);
      assert.equal(fresh.status, 'building');
      assert.isFalse(await renewed(store, lease));
      assert.equal((await store.documentsOf(COUNTERS, fresh.generation).getMany(['a'])).size, 0);
      const ofLiveVersion = await createCounting(store, { version: 1, fresh: true });
      assert.equal(ofLiveVersion.status, 'building');
      assert.deepInclude(await store.generations(PROCESSOR), one);
    });

    it('is built aside though nothing is live, where that is asked for', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { beside: true });
      assert.equal(generation.status, 'building');
      await put(store, generation, { a: 1 });
      assert.deepEqual(await visible(store), []);
      assert.isUndefined(await store.transaction((unit) => unit.live(PROCESSOR)));
      await store.transaction((unit) => unit.activate(PROCESSOR, generation.generation));
      assert.deepEqual(await visible(store), [['a', 1]]);
      const live = await store.transaction((unit) => unit.live(PROCESSOR));
      assert.equal(live?.generation.status, 'live');
      assert.lengthOf(live?.partitions ?? [], 1);
    });

    it('is gone with documents, checkpoint and leases when it is dropped, and its number with it', async () => {
      const store = await stores.open();
      await createCounting(store);
      const two = await createCounting(store, { version: 2 });
      await put(store, two, { a: 1 });
      const lease = await acquired(store, two);
      await store.dropGeneration(PROCESSOR, two.generation);
      assert.lengthOf(await store.generations(PROCESSOR), 1);
      assert.lengthOf(await store.partitions(PROCESSOR), 1);
      assert.equal((await store.documentsOf(COUNTERS, two.generation).getMany(['a'])).size, 0);
      assert.isFalse(await renewed(store, lease));
      assert.isUndefined(await store.acquireLease(lease, { holder: 'one', ttlMs: 600_000 }));
      await failure(LeaseLostError, 'LEASE_LOST', () =>
        store.transaction((unit) => unit.advance(lease, 0, 1)),
      );
      const three = await createCounting(store, { version: 2 });
      assert.isAbove(three.generation, two.generation);
    });

    it('can be dropped when it is retired or unknown, but not while it is live', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await put(store, one, { a: 1 });
      const error = await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
        store.dropGeneration(PROCESSOR, one.generation),
      );
      assert.equal(error.value, one.generation);
      assert.deepEqual(await visible(store), [['a', 1]]);
      await store.dropGeneration(PROCESSOR, 99);
      await store.dropGeneration('nobody', 1);
      const two = await createCounting(store, { version: 2 });
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      await store.dropGeneration(PROCESSOR, one.generation);
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ generation }) => generation),
        [two.generation],
      );
      assert.deepEqual(await visible(store), []);
    });

    it('cannot be activated when it is unknown, live or retired', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      const two = await createCounting(store, { version: 2 });
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      for (const generation of [one.generation, two.generation, 99]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
          store.transaction((unit) => unit.activate(PROCESSOR, generation)),
        );
      }
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ status }) => status),
        ['retired', 'live'],
      );
    });

    it('may have other collections than the one before: those that it lacks are empty', async () => {
      const store = await stores.open();
      const one = await createCounting(store, {
        collections: [documentsNamed(COUNTERS), documentsNamed('totals')],
      });
      await store.transaction((unit) =>
        unit.documents('totals', one.generation).putMany(new Map([['t', 1]])),
      );
      assert.deepEqual(await visible(store, 'totals'), [['t', 1]]);
      const two = await createCounting(store, {
        version: 2,
        collections: [documentsNamed(COUNTERS), documentsNamed('sums')],
      });
      await store.transaction((unit) => unit.documents('sums', two.generation).putMany(new Map([['s', 1]])));
      assert.deepEqual(await visible(store, 'sums'), []);
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      assert.deepEqual(await visible(store, 'totals'), []);
      assert.deepEqual(await visible(store, 'sums'), [['s', 1]]);
    });

    it("is its own processor's: others have theirs", async () => {
      const store = await stores.open();
      const counting = await createCounting(store);
      const summing = await store.createGeneration('summing', {
        version: 7,
        collections: [documentsNamed('sums')],
      });
      assert.equal(summing.generation, 1);
      const lease = await acquired(store, summing);
      await store.transaction((unit) => unit.advance(lease, 0, 3));
      assert.equal((await partitionOf(store, counting)).position, 0);
      assert.isUndefined((await partitionOf(store, counting)).holder);
      assert.lengthOf(await store.partitions(), 2);
      assert.lengthOf(await store.partitions('summing'), 1);
      assert.isEmpty(await store.partitions('nobody'));
    });

    itNeeds(harness, 'instances', 'outlives the instance, with documents, checkpoint and lease', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.transaction((unit) => handleBatch(unit, lease, { from: 0, to: 4, document: { n: 1 } }));
      await store.close();
      const again = await stores.another(store);
      assert.deepEqual(await again.generations(PROCESSOR), [generation]);
      assert.deepEqual(await visible(again), [['handled', { n: 1 }]]);
      assert.isTrue(await renewed(again, lease));
      await again.transaction((unit) => unit.advance(lease, 4, 5));
    });
  });
}

async function createAtOnce(instances: readonly StateStore[]): Promise<void> {
  const created = Array.from({ length: 6 }, (_, index) =>
    createCounting(instances[index % instances.length] ?? assert.fail('no instance')),
  );
  const numbers = (await Promise.all(created)).map(({ generation }) => generation);
  assert.deepEqual(new Set(numbers), new Set([1]));
  for (const store of instances) assert.lengthOf(await store.generations(PROCESSOR), 1);
}
