import { InvalidArgumentError, type Generation, type StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { letter } from './dead-letters.js';
import { failure } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import {
  acquired,
  advance,
  createCounting,
  partitionOf,
  partitionsOf,
  PROCESSOR,
  put,
  renewed,
  visible,
} from './read-models.js';

/** Swaps there and back, and what a generation knows of the one before it. */
export function describeReopening(harness: StoreHarness<StateStore>): void {
  describe('a generation that takes the place of another', () => {
    const stores = useStores(harness);

    it('knows how far that one was, with what was ahead', async () => {
      const store = await stores.open();
      const one = await createCounting(store, { partitions: 4 });
      assert.deepEqual(one.replayed, []);
      for (const [index, partition] of (await partitionsOf(store, one)).entries()) {
        await advance(store, await acquired(store, partition), 0, [4, 9, 9, 6][index] ?? assert.fail());
      }
      await store.mergePartitions({ ...one, firstSlice: 0 });
      const two = await createCounting(store, { version: 2 });
      assert.deepEqual(two.replayed, []);
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      const replayed = [
        { firstSlice: 0, lastSlice: 255, position: 4 },
        { firstSlice: 256, lastSlice: 767, position: 9 },
        { firstSlice: 768, lastSlice: 1023, position: 6 },
      ];
      const [retired, live] = await store.generations(PROCESSOR);
      assert.deepEqual(retired, { ...one, status: 'retired' });
      assert.deepEqual(live, { ...two, status: 'live', replayed });
      assert.deepEqual((await store.transaction((unit) => unit.live(PROCESSOR)))?.generation, live);
    });

    it('passes on what was further before that one', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await advance(store, await acquired(store, one), 0, 9);
      const two = await createCounting(store, { version: 2, partitions: 2 });
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      await advance(store, await acquired(store, { ...two, firstSlice: 512 }), 0, 12);
      const three = await createCounting(store, { version: 3 });
      await store.transaction((unit) => unit.activate(PROCESSOR, three.generation));
      assert.deepEqual((await store.generations(PROCESSOR)).at(-1)?.replayed, [
        { firstSlice: 0, lastSlice: 511, position: 9 },
        { firstSlice: 512, lastSlice: 1023, position: 12 },
      ]);
    });
  });

  describe('what nobody has processed', () => {
    const stores = useStores(harness);
    const unprocessed = (store: StateStore, { generation }: Generation): Promise<readonly number[]> =>
      store.unprocessed(PROCESSOR, generation);
    const swap = async (store: StateStore, options: { after?: number } = {}): Promise<Generation> => {
      const next = await createCounting(store, { fresh: true, beside: true, ...options });
      await store.transaction((unit) => unit.activate(PROCESSOR, next.generation));
      return next;
    };
    const advanced = async (store: StateStore, generation: Generation, to: number): Promise<void> => {
      const lease = await acquired(store, generation);
      await advance(store, lease, lease.position, to);
    };
    const discarded = { reason: 'no use', at: new Date() };

    it('is the letters of a generation that were not discarded, and goes on to the next until that has come to them', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await advanced(store, one, 20);
      await store.transaction((unit) => unit.park([letter(15), letter(4), letter(7, { discarded })]));
      assert.deepEqual(await unprocessed(store, one), [4, 15]);
      const two = await swap(store);
      assert.deepEqual(await unprocessed(store, two), [4, 15]);
      await advanced(store, two, 4);
      assert.deepEqual(await unprocessed(store, two), [15]);
      assert.deepEqual(await store.transaction((unit) => unit.unprocessed(PROCESSOR, two.generation)), [15]);
      const three = await swap(store);
      assert.deepEqual(await unprocessed(store, three), [15]);
      await advanced(store, three, 20);
      assert.deepEqual(await unprocessed(store, three), []);
      await store.dropGeneration(PROCESSOR, one.generation);
      assert.deepEqual(await unprocessed(store, one), []);
    });

    it('is no letter of what was only replayed, unless nobody had processed that before', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await advanced(store, one, 20);
      await store.transaction((unit) => unit.park([letter(4)]));
      const two = await swap(store);
      await advanced(store, two, 30);
      const { generation } = two;
      await store.transaction((unit) =>
        unit.park([letter(4, { generation }), letter(6, { generation }), letter(25, { generation })]),
      );
      assert.deepEqual(await unprocessed(store, two), [4, 25]);
      assert.deepEqual(await unprocessed(store, await swap(store)), [4, 25]);
    });

    it('stays so behind a position that a generation began at', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await advanced(store, one, 20);
      await store.transaction((unit) => unit.park([letter(4), letter(12)]));
      const two = await swap(store, { after: 10 });
      await advanced(store, two, 20);
      assert.deepEqual(await unprocessed(store, two), [4]);
      assert.deepEqual(await unprocessed(store, await swap(store)), [4]);
    });

    it('goes on to one that is reopened, whatever that inherited before', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await advanced(store, one, 20);
      await store.transaction((unit) => unit.park([letter(4)]));
      const two = await swap(store);
      await swap(store);
      await store.reopenGeneration(PROCESSOR, two.generation);
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      assert.deepEqual(await unprocessed(store, two), [4]);
    });
  });

  describe('a retired generation', () => {
    const stores = useStores(harness);

    it('that is reopened is built on, with documents, checkpoint and letters, and live again when it is activated', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      await put(store, one, { a: 'old' });
      await advance(store, await acquired(store, one), 0, 5);
      await store.transaction((unit) => unit.park([letter(3)]));
      const two = await createCounting(store, { version: 2 });
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      assert.deepEqual(await visible(store), []);

      const reopened = await store.reopenGeneration(PROCESSOR, one.generation);
      assert.deepEqual(reopened, { ...one, status: 'building' });
      assert.deepInclude(await store.generations(PROCESSOR), reopened);
      assert.equal((await createCounting(store)).generation, one.generation);
      const lease = await acquired(store, reopened);
      assert.equal(lease.position, 5);
      assert.lengthOf(await store.deadLetters({ ...one }), 1);
      await advance(store, lease, 5, 7);
      await store.transaction((unit) => unit.activate(PROCESSOR, one.generation));
      assert.deepEqual(await visible(store), [['a', 'old']]);
      assert.isTrue(await renewed(store, lease));
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ status }) => status),
        ['live', 'retired'],
      );
      assert.equal((await partitionOf(store, one)).position, 7);
    });

    it('that is reopened takes the place of a build, not of a shadow', async () => {
      const store = await stores.open();
      const one = await createCounting(store);
      const two = await createCounting(store, { version: 2 });
      await store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
      const three = await createCounting(store, { version: 3 });
      const lease = await acquired(store, three);
      const shadow = await createCounting(store, { shadow: true });
      await store.reopenGeneration(PROCESSOR, one.generation);
      assert.isFalse(await renewed(store, lease));
      assert.deepEqual(
        (await store.generations(PROCESSOR)).map(({ generation, status }) => [generation, status]),
        [
          [one.generation, 'building'],
          [two.generation, 'live'],
          [shadow.generation, 'building'],
        ],
      );
    });

    it('is the only one that can be reopened', async () => {
      const store = await stores.open();
      const live = await createCounting(store);
      const building = await createCounting(store, { version: 2 });
      const shadow = await createCounting(store, { shadow: true });
      for (const { generation } of [live, building, shadow, { generation: 99 }]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
          store.reopenGeneration(PROCESSOR, generation),
        );
      }
      assert.deepEqual(await store.generations(PROCESSOR), [live, building, shadow]);
    });
  });
}
