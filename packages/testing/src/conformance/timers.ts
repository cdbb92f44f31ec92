import type { StateStore, Timer } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { outcome } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import { createCounting, PROCESSOR } from './read-models.js';

const OWNER = { processor: PROCESSOR, generation: 1 };
const ALL = { ...OWNER, firstSlice: 0, lastSlice: 1023 };

function timer(sequence: string, name: string, due: number, overrides: Partial<Timer> = {}): Timer {
  return { sequence, slice: 10, name, dueAt: new Date(due), data: { due }, ...overrides };
}

/** What process managers are to be reminded of. */
export function describeTimers(harness: StoreHarness<StateStore>): void {
  describe('timers', () => {
    const stores = useStores(harness);
    const open = async (...timers: Timer[]): Promise<StateStore> => {
      const store = await stores.open();
      await createCounting(store);
      await set(store, ...timers);
      return store;
    };

    it('are read as they were set, the earliest first', async () => {
      const [earliest, first, second, last] = [
        timer('a', 'expire', -5, { data: 7 }),
        timer('a', 'remind', 1000, { data: 'text' }),
        timer('b', 'remind', 2000, { data: null }),
        timer('order "ä",{}\\', 'remind, "again"', 1_700_000_000_123, {
          slice: 1023,
          data: ['💥', { a: 1 }],
        }),
      ] as const;
      const store = await open(second, last, first, earliest);
      assert.deepEqual(await store.timers(ALL, 10), [earliest, first, second, last]);
      assert.deepEqual(await store.timers(ALL, 2), [earliest, first]);
    });

    it('are those of a range of slices and of one generation', async () => {
      const store = await open(timer('a', 'x', 1), timer('b', 'x', 2, { slice: 11 }));
      assert.deepEqual(await names(store, { firstSlice: 11 }), ['b x']);
      assert.deepEqual(await names(store, { lastSlice: 10 }), ['a x']);
      assert.deepEqual(await names(store, { firstSlice: 12 }), []);
      assert.deepEqual(await names(store, { generation: 2 }), []);
      assert.deepEqual(await names(store, { processor: 'nobody' }), []);
    });

    it('take the place of those of the same sequence and name, the last of several in one call', async () => {
      const store = await open(
        timer('a', 'x', 5),
        timer('a', 'y', 4),
        timer('b', 'x', 3),
        timer('b', 'x', 1),
      );
      assert.deepEqual(await names(store), ['b x', 'a y', 'a x']);
      await set(store, timer('a', 'x', 2, { data: 'new' }));
      assert.deepEqual(await names(store), ['b x', 'a x', 'a y']);
      assert.equal((await store.timers(ALL, 10))[1]?.data, 'new');
    });

    it('are removed once, each with an answer of its own', async () => {
      const store = await open(timer('a', 'x', 1), timer('a', 'y', 2), timer('b', 'x', 3));
      const removed = await store.transaction((unit) =>
        unit.removeTimers(OWNER, [timer('b', 'y', 0), timer('a', 'y', 0), timer('b', 'x', 0)]),
      );
      assert.deepEqual(removed, [false, true, true]);
      assert.deepEqual(await names(store), ['a x']);
      assert.deepEqual(await store.transaction((unit) => unit.removeTimers(OWNER, [])), []);
      const again = await store.transaction((unit) => unit.removeTimers(OWNER, [timer('a', 'y', 0)]));
      assert.deepEqual(again, [false]);
    });

    it('are set and removed with their transaction or not at all', async () => {
      const store = await open(timer('a', 'x', 1));
      await outcome(() =>
        store.transaction(async (unit) => {
          await unit.setTimers(OWNER, [timer('a', 'y', 2)]);
          assert.deepEqual(await unit.removeTimers(OWNER, [timer('a', 'x', 1)]), [true]);
          throw new Error('undone');
        }),
      );
      assert.deepEqual(await names(store), ['a x']);
    });

    it('are gone with their generation', async () => {
      const store = await open(timer('a', 'x', 1));
      const two = await createCounting(store, { version: 2 });
      await store.transaction((unit) => unit.setTimers(two, [timer('a', 'x', 1)]));
      assert.lengthOf(await names(store, { generation: two.generation }), 1);
      await store.dropGeneration(PROCESSOR, two.generation);
      assert.isEmpty(await names(store, { generation: two.generation }));
      assert.lengthOf(await names(store), 1);
    });
  });
}

function set(store: StateStore, ...timers: readonly Timer[]): Promise<void> {
  return store.transaction((unit) => unit.setTimers(OWNER, timers));
}

async function names(store: StateStore, of: Partial<typeof ALL> = {}): Promise<string[]> {
  return (await store.timers({ ...ALL, ...of }, 10)).map(({ sequence, name }) => `${sequence} ${name}`);
}
