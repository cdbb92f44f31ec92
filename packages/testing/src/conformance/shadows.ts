import { InvalidArgumentError, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import {
  acquired,
  advance,
  COUNTERS,
  createCounting,
  PROCESSOR,
  put,
  renewed,
  visible,
} from './read-models.js';

/** Builds that are only compared with the live one. */
export function describeShadows(harness: StoreHarness<StateStore>): void {
  describe('a shadow generation', () => {
    const stores = useStores(harness);

    it('is built aside, even where nothing is live, and can be leased and written', async () => {
      const store = await stores.open();
      const shadow = await createCounting(store, { shadow: true, after: 2 });
      assert.deepInclude(shadow, { status: 'building', shadow: true, startedAfter: 2 });
      const lease = await acquired(store, shadow);
      await advance(store, lease, 2, 3);
      await put(store, shadow, { a: 1 });
      assert.deepEqual(await visible(store), []);
      assert.equal((await store.documentsOf(COUNTERS, shadow.generation).getMany(['a'])).get('a'), 1);
      assert.isUndefined(await store.transaction((unit) => unit.live(PROCESSOR)));
      assert.deepEqual(await store.generations(PROCESSOR), [shadow]);
    });

    it('is a new one each time, in the place of the one before', async () => {
      const store = await stores.open();
      const live = await createCounting(store);
      const one = await createCounting(store, { shadow: true });
      const lease = await acquired(store, one);
      const two = await createCounting(store, { shadow: true });
      assert.isAbove(two.generation, one.generation);
      assert.isFalse(await renewed(store, lease));
      assert.deepEqual(await store.generations(PROCESSOR), [live, two]);
      await store.dropGeneration(PROCESSOR, two.generation);
      assert.deepEqual(await store.generations(PROCESSOR), [live]);
    });

    it('and a real build beside it leave each other alone', async () => {
      const store = await stores.open();
      const live = await createCounting(store);
      const building = await createCounting(store, { version: 2 });
      const shadow = await createCounting(store, { version: 2, shadow: true });
      assert.isFalse(building.shadow);
      assert.equal((await createCounting(store, { version: 2 })).generation, building.generation);
      const fresh = await createCounting(store, { version: 3 });
      assert.isAbove(fresh.generation, shadow.generation);
      assert.deepEqual(await store.generations(PROCESSOR), [live, shadow, fresh]);
      const other = await createCounting(store, { version: 3, shadow: true });
      await store.transaction((unit) => unit.activate(PROCESSOR, fresh.generation));
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ generation, status }) => [generation, status]),
        [
          [live.generation, 'retired'],
          [fresh.generation, 'live'],
          [other.generation, 'building'],
        ],
      );
    });

    it('is never taken for the first generation, which is live at once beside it', async () => {
      const store = await stores.open();
      await createCounting(store, { shadow: true });
      const first = await createCounting(store);
      assert.deepInclude(first, { status: 'live', shadow: false });
    });

    it('cannot be activated', async () => {
      const store = await stores.open();
      const live = await createCounting(store);
      const shadow = await createCounting(store, { shadow: true });
      await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
        store.transaction((unit) => unit.activate(PROCESSOR, shadow.generation)),
      );
      assert.deepEqual(await store.generations(PROCESSOR), [live, shadow]);
    });
  });
}
