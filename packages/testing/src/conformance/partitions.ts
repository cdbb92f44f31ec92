import { InvalidArgumentError, LeaseLostError, type Partition, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import {
  acquired,
  advance,
  createCounting,
  partitionOf,
  partitionsOf,
  PROCESSOR,
  renewed,
} from './read-models.js';

/** Ranges of slices that are cut in two and put together again. */
export function describePartitions(harness: StoreHarness<StateStore>): void {
  describe('partitions', () => {
    const stores = useStores(harness);

    it('are as many of equal width as a generation is created with', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 3, after: 4 });
      const shape = (await partitionsOf(store, generation)).map((one) => [
        one.firstSlice,
        one.lastSlice,
        one.position,
      ]);
      assert.deepEqual(shape, [
        [0, 340, 4],
        [341, 681, 4],
        [682, 1023, 4],
      ]);
      const all = await createCounting(store, { version: 2, partitions: 1024 });
      assert.lengthOf(await partitionsOf(store, all), 1024);
    });

    it('are refused in any number but 1 to 1024', async () => {
      const store = await stores.open();
      for (const partitions of [0, -1, 1025, 1.5, NaN]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => createCounting(store, { partitions }));
      }
      assert.deepEqual(await store.generations(PROCESSOR), []);
    });

    it('each have a lease and a checkpoint of their own', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 2 });
      const left = await acquired(store, generation);
      const right = await acquired(store, { ...generation, firstSlice: 512 }, 'two');
      assert.deepInclude(left, { firstSlice: 0, lastSlice: 511, ahead: [], crashes: 0 });
      assert.deepInclude(right, { firstSlice: 512, lastSlice: 1023, ahead: [], crashes: 0 });
      await advance(store, right, 0, 3);
      assert.deepEqual(
        (await partitionsOf(store, generation)).map(({ position }) => position),
        [0, 3],
      );
    });

    it('that are split are both where the one was, and free', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await advance(store, lease, 0, 8);
      await store.splitPartition(lease, 100);
      const [left, right] = await pair(store);
      assert.deepInclude(left, { firstSlice: 0, lastSlice: 99, position: 8, ahead: [], holder: undefined });
      assert.deepInclude(right, { firstSlice: 100, lastSlice: 1023, position: 8, holder: undefined });
      assert.isAbove(left.token, lease.token);
      assert.isAbove(right.token, lease.token);
      assert.isFalse(await renewed(store, lease));
      await failure(LeaseLostError, 'LEASE_LOST', () => advance(store, lease, 8, 9));
      assert.equal((await acquired(store, generation)).crashes, 0);
    });

    it('can be split only inside, and where they are', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 2 });
      const lease = await acquired(store, generation);
      for (const at of [-1, 0, 512, 1024, 7.5, NaN]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => store.splitPartition(lease, at));
      }
      for (const unknown of [{ firstSlice: 1 }, { generation: 9 }, { processor: 'nobody' }]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
          store.splitPartition({ ...lease, ...unknown }, 256),
        );
      }
      assert.isTrue(await renewed(store, lease));
    });

    it('that are merged are where the lower was, and know what is ahead until they are there', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 2 });
      const [left, right] = [
        await acquired(store, generation),
        await acquired(store, { ...generation, firstSlice: 512 }),
      ];
      await advance(store, left, 0, 5);
      await advance(store, right, 0, 9);
      await store.mergePartitions(left);
      const ahead = [{ firstSlice: 512, lastSlice: 1023, position: 9 }];
      const merged = await partitionOf(store, generation);
      assert.deepInclude(merged, { firstSlice: 0, lastSlice: 1023, position: 5, ahead, holder: undefined });
      assert.isAbove(merged.token, Math.max(left.token, right.token));
      for (const lost of [left, right]) assert.isFalse(await renewed(store, lost));

      const lease = await acquired(store, generation);
      assert.deepInclude(lease, { position: 5, lastSlice: 1023, ahead });
      await advance(store, lease, 5, 8);
      assert.deepEqual((await partitionOf(store, generation)).ahead, ahead);
      await advance(store, lease, 8, 9);
      assert.deepEqual((await partitionOf(store, generation)).ahead, []);
    });

    it('that are merged again keep everything that is ahead, and give each half its own when split', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 4 });
      for (const [index, partition] of (await partitionsOf(store, generation)).entries()) {
        const lease = await acquired(store, partition);
        await advance(store, lease, 0, [7, 3, 5, 5][index] ?? assert.fail());
      }
      const key = { processor: PROCESSOR, generation: generation.generation, firstSlice: 0 };
      await store.mergePartitions({ ...key, firstSlice: 512 });
      await store.mergePartitions(key);
      await store.mergePartitions(key);
      const merged = await partitionOf(store, generation);
      assert.deepInclude(merged, {
        position: 3,
        ahead: [
          { firstSlice: 0, lastSlice: 255, position: 7 },
          { firstSlice: 512, lastSlice: 1023, position: 5 },
        ],
      });
      await store.splitPartition(key, 600);
      const [left, right] = await pair(store);
      assert.deepEqual(left.ahead, [
        { firstSlice: 0, lastSlice: 255, position: 7 },
        { firstSlice: 512, lastSlice: 599, position: 5 },
      ]);
      assert.deepEqual(right.ahead, [{ firstSlice: 600, lastSlice: 1023, position: 5 }]);
      const lease = await acquired(store, generation);
      assert.deepEqual(await store.advanceAll([{ lease, from: 3, to: 5 }]), [true]);
      assert.deepEqual((await pair(store))[0].ahead, [{ firstSlice: 0, lastSlice: 255, position: 7 }]);
    });

    it('keep a failure of either, the crashes and the attempts when they are merged', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 2 });
      await acquired(store, generation);
      const right = await acquired(store, { ...generation, firstSlice: 512 });
      await store.recordFailure(right, { message: 'broken', at: new Date() });
      await store.beginAttempt(right, 3);
      await store.beginAttempt(await acquired(store, generation), 2);
      await store.mergePartitions({ ...generation, firstSlice: 0 });
      const merged = await partitionOf(store, generation);
      assert.equal(merged.failure?.message, 'broken');
      assert.equal(merged.crashes, 1);
      const lease = await acquired(store, generation);
      assert.equal(await store.beginAttempt(lease, 3), 2);
      assert.equal(await store.beginAttempt(lease, 2), 2);
    });

    it('cannot be merged where there is none, or none to the right', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 2 });
      const key = { processor: PROCESSOR, generation: generation.generation, firstSlice: 512 };
      for (const other of [{}, { firstSlice: 7 }, { generation: 9 }, { processor: 'nobody' }]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
          store.mergePartitions({ ...key, ...other }),
        );
      }
      assert.lengthOf(await partitionsOf(store, generation), 2);
    });

    it('never have a token that an earlier one of the same name had', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const key = { processor: PROCESSOR, generation: generation.generation, firstSlice: 0 };
      await store.splitPartition(key, 512);
      const stale = await acquired(store, { ...key, firstSlice: 512 });
      for (let round = 0; round < 3; round++) {
        await store.mergePartitions(key);
        await store.splitPartition(key, 512 + round);
        await store.mergePartitions(key);
        await store.splitPartition(key, 512);
        const [, right] = await pair(store);
        assert.isAbove(right.token, stale.token);
        assert.isFalse(await renewed(store, stale));
        await failure(LeaseLostError, 'LEASE_LOST', () => advance(store, stale, 0, 1));
      }
    });

    it('are moved together, each with an answer of its own', async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 4 });
      const leases = [];
      for (const partition of await partitionsOf(store, generation)) {
        leases.push(await acquired(store, partition));
      }
      const [first, second, third, fourth] = leases;
      if (!first || !second || !third || !fourth) assert.fail('four partitions were asked for');
      const moves = [
        { lease: third, from: 0, to: 7 },
        { lease: { ...second, token: second.token + 1 }, from: 0, to: 7 },
        { lease: fourth, from: 1, to: 7 },
        { lease: first, from: 0, to: 2 },
        { lease: { ...first, processor: 'nobody' }, from: 0, to: 2 },
      ];
      assert.deepEqual(await store.advanceAll(moves), [true, false, false, true, false]);
      assert.deepEqual(
        (await partitionsOf(store, generation)).map(({ position }) => position),
        [2, 0, 7, 0],
      );
      assert.deepEqual(await store.advanceAll([]), []);
    });

    it('never go back', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await advance(store, lease, 0, 5);
      await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => advance(store, lease, 5, 4));
      await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
        store.advanceAll([{ lease, from: 5, to: 4 }]),
      );
      assert.equal((await partitionOf(store, generation)).position, 5);
    });
  });
}

async function pair(store: StateStore): Promise<[Partition, Partition]> {
  const [left, right, ...more] = await store.partitions(PROCESSOR);
  assert.isEmpty(more);
  if (!left || !right) assert.fail('there are no two partitions');
  return [left, right];
}
