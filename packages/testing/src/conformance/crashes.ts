import { LeaseLostError, type Lease, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, until } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import { acquired, advance, createCounting, partitionOf } from './read-models.js';

/** What a store remembers of holders that died, and of the events that they died on. */
export function describeCrashes(harness: StoreHarness<StateStore>): void {
  describe('a crash', () => {
    const stores = useStores(harness);

    it('is counted when an expired lease is taken over, and when a holder takes its own again', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      assert.equal((await acquired(store, generation)).crashes, 0);
      assert.equal((await acquired(store, generation)).crashes, 1);
      assert.equal((await partitionOf(store, generation)).crashes, 1);
      await store.renewLeases([await acquired(store, generation)], 20);
      const partition = { ...generation, firstSlice: 0 };
      const lease = await until(() => store.acquireLease(partition, { holder: 'two', ttlMs: 600_000 }));
      assert.equal(lease.crashes, 3);
    });

    it('is not what a clean release is, which leaves the count as it is', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      await store.releaseLease(await acquired(store, generation));
      assert.equal((await acquired(store, generation)).crashes, 0);
      await store.releaseLease(await acquired(store, generation));
      assert.equal((await acquired(store, generation, 'two')).crashes, 1);
    });

    it('is forgotten when the checkpoint moves, not when the lease is only made sure of', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      await acquired(store, generation);
      const lease = await acquired(store, generation);
      await advance(store, lease, 0, 0);
      assert.deepEqual(await store.advanceAll([{ lease, from: 0, to: 0 }]), [true]);
      assert.equal((await partitionOf(store, generation)).crashes, 1);
      await advance(store, lease, 0, 1);
      assert.equal((await partitionOf(store, generation)).crashes, 0);
      const again = await acquired(store, generation);
      assert.equal(again.crashes, 1);
      assert.deepEqual(await store.advanceAll([{ lease: again, from: 1, to: 2 }]), [true]);
      assert.equal((await partitionOf(store, generation)).crashes, 0);
    });

    it('leaves the attempts at each event counted for the next holder', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      assert.equal(await store.beginAttempt(lease, 7), 1);
      assert.equal(await store.beginAttempt(lease, 7), 2);
      const next = await acquired(store, generation, 'one');
      assert.equal(await store.beginAttempt(next, 7), 3);
      assert.equal(await store.beginAttempt(next, 9), 1);
      assert.equal(await store.beginAttempt(next, 7), 4);
      await store.releaseLease(next);
      assert.equal(await store.beginAttempt(await acquired(store, generation, 'two'), 7), 5);
    });

    it('takes the attempts with it when the checkpoint moves, and only then', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      assert.equal(await store.beginAttempt(lease, 7), 1);
      await advance(store, lease, 0, 0);
      assert.equal(await store.beginAttempt(lease, 7), 2);
      await advance(store, lease, 0, 6);
      assert.equal(await store.beginAttempt(lease, 7), 1);
      assert.deepEqual(await store.advanceAll([{ lease, from: 6, to: 6 }]), [true]);
      assert.equal(await store.beginAttempt(lease, 7), 2);
      assert.deepEqual(await store.advanceAll([{ lease, from: 6, to: 7 }]), [true]);
      assert.equal(await store.beginAttempt(lease, 7), 1);
    });

    it('is followed by no attempt under a lease that was lost', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const stale = await acquired(store, generation);
      const lease = await acquired(store, generation);
      await failure(LeaseLostError, 'LEASE_LOST', () => store.beginAttempt(stale, 7));
      const unknown: Lease = { ...lease, processor: 'nobody' };
      await failure(LeaseLostError, 'LEASE_LOST', () => store.beginAttempt(unknown, 7));
      assert.equal(await store.beginAttempt(lease, 7), 1);
    });
  });
}
