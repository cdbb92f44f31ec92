import { SerializationError, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import { ODD_VALUES } from './round-trip.js';

/** Snapshots of aggregates. */
export function describeSnapshots(harness: StoreHarness<StateStore>): void {
  describe('snapshot', () => {
    const stores = useStores(harness);
    const snapshot = { stream: 'order-1', revision: 5, version: 1, state: { total: 7 } };

    it('is loaded as it was saved, for its own stream', async () => {
      const store = await stores.open();
      assert.isUndefined(await store.loadSnapshot('order-1'));
      await store.saveSnapshot(snapshot);
      assert.deepEqual(await store.loadSnapshot('order-1'), snapshot);
      assert.isUndefined(await store.loadSnapshot('order-10'));
    });

    it('is replaced by a later revision, not by an earlier one of the same version', async () => {
      const store = await stores.open();
      await store.saveSnapshot(snapshot);
      const later = { ...snapshot, revision: 9, state: { total: 9 } };
      await store.saveSnapshot(later);
      assert.deepEqual(await store.loadSnapshot('order-1'), later);
      await store.saveSnapshot({ ...snapshot, revision: 8 });
      assert.deepEqual(await store.loadSnapshot('order-1'), later);
    });

    it('is replaced by another version, older or newer, at any revision', async () => {
      const store = await stores.open();
      await store.saveSnapshot(snapshot);
      for (const version of [2, 1]) {
        const other = { ...snapshot, version, revision: 3 };
        await store.saveSnapshot(other);
        assert.deepEqual(await store.loadSnapshot('order-1'), other);
      }
    });

    it('is gone when it was deleted, and can be saved again at any revision', async () => {
      const store = await stores.open();
      await store.saveSnapshot(snapshot);
      await store.deleteSnapshot('order-1');
      await store.deleteSnapshot('order-1');
      assert.isUndefined(await store.loadSnapshot('order-1'));
      await store.saveSnapshot({ ...snapshot, revision: 0 });
      assert.equal((await store.loadSnapshot('order-1'))?.revision, 0);
    });

    it('keeps a state however odd, and shares it with nobody', async () => {
      const store = await stores.open();
      const state = { list: [1], odd: ODD_VALUES.map(([, value]) => value) };
      const json = JSON.stringify(state);
      await store.saveSnapshot({ ...snapshot, state });
      state.list.push(2);
      const loaded = await store.loadSnapshot('order-1');
      assert.equal(JSON.stringify(loaded?.state), json);
      assert.notStrictEqual((await store.loadSnapshot('order-1'))?.state, loaded?.state);
    });

    it('that is no JSON is refused, and the one before stays', async () => {
      const store = await stores.open();
      await store.saveSnapshot(snapshot);
      const error = await failure(SerializationError, 'SERIALIZATION', () =>
        store.saveSnapshot({ ...snapshot, revision: 9, state: { big: 1n } }),
      );
      assert.include(error.subject, 'order-1');
      assert.deepEqual(await store.loadSnapshot('order-1'), snapshot);
    });
  });
}
