import { LeaseLostError, type Lease, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, settled, until } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import {
  acquired,
  createCounting,
  handleBatch,
  partitionOf,
  PROCESSOR,
  visible,
  renewed,
} from './read-models.js';

const TTL = { ttlMs: 600_000 };

/** Who may work on a partition, and that nobody else's work is committed. */
export function describeLeases(harness: StoreHarness<StateStore>): void {
  describe('lease', () => {
    const stores = useStores(harness);

    it('is given with a token, the checkpoint and an expiry, and shown with its partition', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { after: 12 });
      const free = await partitionOf(store, generation);
      assert.include(free, { firstSlice: 0, lastSlice: 1023, position: 12, token: 0 });
      assert.isUndefined(free.holder);
      assert.isUndefined(free.leaseExpiresAt);
      const lease = await acquired(store, generation);
      assert.include(lease, {
        processor: PROCESSOR,
        generation: 1,
        firstSlice: 0,
        holder: 'one',
        position: 12,
      });
      assert.isAtLeast(lease.token, 1);
      const held = await partitionOf(store, generation);
      assert.include(held, { holder: 'one', token: lease.token });
      assert.instanceOf(held.leaseExpiresAt, Date);
    });

    it('is given to one of 10 who ask at once', async () => {
      const store = await stores.open();
      await acquireAtOnce([store]);
    });

    itNeeds(harness, 'instances', 'is given to one of 10 who ask at once on two instances', async () => {
      const store = await stores.open();
      await acquireAtOnce([store, await stores.another(store)]);
    });

    it('is denied to others while it lasts, and given again to its holder with a larger token', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      assert.isUndefined(await store.acquireLease(lease, { holder: 'two', ...TTL }));
      const again = await acquired(store, generation);
      assert.isAbove(again.token, lease.token);
      assert.isFalse(await renewed(store, lease));
      assert.isTrue(await renewed(store, again));
    });

    it('is denied for a generation that does not exist', async () => {
      const store = await stores.open();
      const partition = { processor: 'nobody', generation: 1, firstSlice: 0 };
      assert.isUndefined(await store.acquireLease(partition, { holder: 'one', ...TTL }));
    });

    it('lasts longer when it is renewed', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const before = (await partitionOf(store, generation)).leaseExpiresAt ?? assert.fail();
      assert.isTrue(await renewed(store, lease));
      const after = (await partitionOf(store, generation)).leaseExpiresAt ?? assert.fail();
      assert.isAbove(after.getTime(), before.getTime());
    });

    it('is renewed together with others, each with an answer of its own', async () => {
      const store = await stores.open();
      const first = await acquired(store, await createCounting(store));
      const other = await store.createGeneration('other', { version: 1, collections: [] });
      const second = await acquired(store, other);
      const lost = { ...first, token: first.token + 1 };
      assert.deepEqual(await store.renewLeases([first, lost, second], TTL.ttlMs), [true, false, true]);
      assert.deepEqual(await store.renewLeases([], TTL.ttlMs), []);
    });

    it('is free for others when it is released, and lost to who released it', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.releaseLease(lease);
      assert.isUndefined((await partitionOf(store, generation)).holder);
      assert.isFalse(await renewed(store, lease));
      const next = await acquired(store, generation, 'two');
      assert.isAbove(next.token, lease.token);
      await store.releaseLease(lease);
      assert.equal((await partitionOf(store, generation)).holder, 'two');
    });

    it('keeps the checkpoint for the next holder', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.transaction((unit) => unit.advance(lease, 0, 5));
      await store.transaction((unit) => unit.advance(lease, 5, 9));
      await store.releaseLease(lease);
      assert.equal((await acquired(store, generation, 'two')).position, 9);
    });

    it('is taken over with a larger token when it has expired', async () => {
      const store = await stores.open();
      const { stale, current } = await takenOver(store);
      assert.isAbove(current.token, stale.token);
      assert.equal((await partitionOf(store, { ...(await createCounting(store)) })).holder, 'two');
    });

    it('that was lost can be neither renewed nor used to release, fail or commit anything', async () => {
      const store = await stores.open();
      const { stale, current } = await takenOver(store);
      const generation = await createCounting(store);
      assert.isFalse(await renewed(store, stale));
      await store.releaseLease(stale);
      await store.recordFailure(stale, { message: 'late', at: new Date() });
      const error = await failure(LeaseLostError, 'LEASE_LOST', () =>
        store.transaction((unit) => handleBatch(unit, stale, { from: 0, to: 9, document: 'stale' })),
      );
      assert.include(error, { processor: PROCESSOR, token: stale.token });
      const partition = await partitionOf(store, generation);
      assert.include(partition, { holder: 'two', token: current.token, position: 0 });
      assert.isUndefined(partition.failure);
      assert.deepEqual(await visible(store), []);
      await store.transaction((unit) => handleBatch(unit, current, { from: 0, to: 3, document: 'current' }));
      assert.deepEqual(await visible(store), [['handled', 'current']]);
    });

    it('that is taken over while its holder handles a batch leaves nothing of that batch', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.releaseLease(lease);
      const next = await acquired(store, generation, 'two');
      await store.transaction((unit) => unit.advance(next, 0, 4));
      // The old holder's view of the checkpoint is right or wrong: neither helps it.
      for (const from of [0, 4]) {
        await failure(LeaseLostError, 'LEASE_LOST', () =>
          store.transaction((unit) => handleBatch(unit, lease, { from, to: 9, document: 'stale' })),
        );
      }
      assert.equal((await partitionOf(store, generation)).position, 4);
      assert.deepEqual(await visible(store), []);
    });

    it('moves the checkpoint only from where it is', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.transaction((unit) => unit.advance(lease, 0, 5));
      for (const from of [0, 4, 6]) {
        await failure(LeaseLostError, 'LEASE_LOST', () =>
          store.transaction((unit) => handleBatch(unit, lease, { from, to: 9, document: from })),
        );
      }
      assert.equal((await partitionOf(store, generation)).position, 5);
      assert.deepEqual(await visible(store), []);
    });

    it('lets one of two transactions move the checkpoint from the same place', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const { values, errors } = await settled(
        [1, 2].map((document) =>
          store.transaction((unit) => handleBatch(unit, lease, { from: 0, to: 5, document })),
        ),
      );
      assert.lengthOf(values, 1);
      assert.instanceOf(errors[0], LeaseLostError);
    });

    it('keeps why its partition stopped until it goes on', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const at = new Date(1_700_000_000_123);
      const event = { id: 'e', type: 'Placed', stream: 'order-1', revision: 3, position: 17 };
      await store.recordFailure(lease, { message: 'broken "💥"', event, at });
      assert.deepEqual((await partitionOf(store, generation)).failure, { message: 'broken "💥"', event, at });
      await store.recordFailure(lease, { message: 'no event', at });
      const { failure: second } = await partitionOf(store, generation);
      assert.equal(second?.message, 'no event');
      assert.isUndefined(second?.event);
      await store.releaseLease(lease);
      assert.isDefined((await partitionOf(store, generation)).failure);
      const next = await acquired(store, generation);
      await store.recordFailure(next, undefined);
      assert.isUndefined((await partitionOf(store, generation)).failure);
    });
  });
}

async function acquireAtOnce(instances: readonly StateStore[]): Promise<void> {
  const generation = await createCounting(instances[0] ?? assert.fail('no instance'));
  const asked = Array.from({ length: 10 }, (_, index) => {
    const store = instances[index % instances.length] ?? assert.fail('no instance');
    return store.acquireLease({ ...generation, firstSlice: 0 }, { holder: `holder-${index}`, ...TTL });
  });
  const leases = (await Promise.all(asked)).filter((lease) => lease !== undefined);
  assert.lengthOf(leases, 1);
}

/** A lease that expired, and the one that another took then. */
async function takenOver(store: StateStore): Promise<{ readonly stale: Lease; readonly current: Lease }> {
  const generation = await createCounting(store);
  const partition = { ...generation, firstSlice: 0 };
  const stale = await store.acquireLease(partition, { holder: 'one', ttlMs: 30 });
  const current = await until(() => store.acquireLease(partition, { holder: 'two', ...TTL }));
  return { stale: stale ?? assert.fail('the first was denied the lease'), current };
}
