import { LeaseLostError, type Lease, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, nextTurn, outcome, until } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import {
  acquired,
  advance,
  createCounting,
  documentsNamed,
  partitionOf,
  partitionsOf,
  PROCESSOR,
  renewed,
} from './read-models.js';

const HOLDER = { holder: 'one', ttlMs: 600_000 };

/** Processors that are to stand still. */
export function describePause(harness: StoreHarness<StateStore>): void {
  describe('a pause', () => {
    const stores = useStores(harness);

    it('lasts until it is ended, and nobody gets a lease meanwhile, nor on what is created meanwhile', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      assert.deepEqual(await store.pausedProcessors(), []);
      await store.setPaused(PROCESSOR, true);
      await store.setPaused(PROCESSOR, true);
      await store.setPaused('another', true);
      assert.deepEqual(await store.pausedProcessors(), ['another', PROCESSOR]);
      const two = await createCounting(store, { version: 2 });
      for (const generation of [one, two]) {
        assert.isUndefined(await store.acquireLease({ ...generation, firstSlice: 0 }, HOLDER));
      }
      await store.setPaused(PROCESSOR, false);
      assert.deepEqual(await store.pausedProcessors(), ['another']);
      await acquired(store, one);
      await acquired(store, two);
    });

    it('is of one processor: others go on', async () => {
      const store = await stores.open();
      const other = await store.createGeneration('other', {
        version: 1,
        collections: [documentsNamed('others')],
      });
      const lease = await acquired(store, other);
      await store.setPaused(PROCESSOR, true, { fence: true });
      assert.isTrue(await renewed(store, lease));
      await advance(store, lease, 0, 1);
      await acquired(store, other);
    });

    it('leaves leases to their holders until they give them back', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.setPaused(PROCESSOR, true);
      assert.isTrue(await renewed(store, lease));
      await advance(store, lease, 0, 1);
      assert.isUndefined(await store.acquireLease(lease, HOLDER));
      await store.releaseLease(lease);
      assert.isUndefined(await store.acquireLease(lease, HOLDER));
    });

    it('with a fence takes the leases of all generations, and counts no crash', async () => {
      const store = await stores.open();
      const one = await createCounting(store, { partitions: 2 });
      const two = await createCounting(store, { version: 2 });
      const shadow = await createCounting(store, { shadow: true });
      const leases: Lease[] = [];
      for (const partition of await store.partitions(PROCESSOR)) {
        leases.push(await acquired(store, partition));
      }
      assert.lengthOf(leases, 4);
      await store.setPaused(PROCESSOR, true, { fence: true });
      for (const lease of leases) {
        assert.isFalse(await renewed(store, lease));
        await failure(LeaseLostError, 'LEASE_LOST', () => advance(store, lease, 0, 1));
        assert.deepEqual(await store.advanceAll([{ lease, from: 0, to: 1 }]), [false]);
      }
      await store.setPaused(PROCESSOR, false);
      for (const generation of [one, two, shadow]) {
        for (const partition of await partitionsOf(store, generation)) {
          assert.isUndefined(partition.holder);
          assert.equal((await acquired(store, partition)).crashes, 0);
        }
      }
    });

    it('forgets failures when it ends', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await store.recordFailure(lease, { message: 'broken', at: new Date() });
      await store.setPaused(PROCESSOR, true);
      assert.isDefined((await partitionOf(store, generation)).failure);
      await store.setPaused(PROCESSOR, false);
      assert.isUndefined((await partitionOf(store, generation)).failure);
    });

    it('is counted when it ends, and so is every other word to go on', async () => {
      const store = await stores.open();
      assert.deepEqual((await store.steering()).resumes, new Map());
      await store.setPaused(PROCESSOR, true);
      assert.deepEqual((await store.steering()).resumes, new Map());
      await store.setPaused(PROCESSOR, false);
      await store.setPaused('another', false);
      await store.setPaused(PROCESSOR, false);
      assert.deepEqual(
        (await store.steering()).resumes,
        new Map([
          [PROCESSOR, 2],
          ['another', 1],
        ]),
      );
    });

    it('with a fence lets nothing commit under a lease once it has begun', async () => {
      const store = await stores.open();
      await fenceAmongWorkers([store]);
    });

    itNeeds(harness, 'instances', 'with a fence lets nothing commit from another instance', async () => {
      const store = await stores.open();
      await fenceAmongWorkers([store, await stores.another(store)]);
    });
  });
}

/** Workers take leases and commit as fast as they can, while another pauses their processor again and again. */
async function fenceAmongWorkers(instances: readonly [StateStore, ...StateStore[]]): Promise<void> {
  const [store] = instances;
  const generation = await createCounting(store);
  let ended = false;
  const workers = [0, 1, 2, 3].map(async (index) => {
    const own = instances[index % instances.length] ?? store;
    while (!ended) {
      const lease = await own.acquireLease({ ...generation, firstSlice: 0 }, { ...HOLDER, ttlMs: 0 });
      if (lease) await outcome(() => commitUntil(() => ended, own, lease));
      await nextTurn();
    }
  });
  try {
    for (let round = 0; round < 10; round++) {
      await store.setPaused(PROCESSOR, true, { fence: true });
      const paused = await partitionOf(store, generation);
      for (let look = 0; look < 5; look++) {
        assert.deepEqual(await partitionOf(store, generation), paused, `round ${round}`);
      }
      await store.setPaused(PROCESSOR, false);
      await until(async () => (await partitionOf(store, generation)).position > paused.position);
    }
  } finally {
    ended = true;
    await Promise.all(workers);
  }
}

async function commitUntil(ended: () => boolean, store: StateStore, lease: Lease): Promise<void> {
  for (let { position } = lease; !ended(); position++) {
    await advance(store, lease, position, position + 1);
    await nextTurn();
  }
}
