import type { DeadLetter, StateStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { outcome } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import { createCounting, PROCESSOR } from './read-models.js';

const NOW = new Date(1_700_000_000_500);
const EARLIER = new Date(NOW.getTime() - 1);
const LATER = new Date(NOW.getTime() + 1);
const FIRST = { processor: PROCESSOR, generation: 1 };
const ALL = { ...FIRST, firstSlice: 0, lastSlice: 1023 };
const GIVEN_UP = { reason: 'no use', at: NOW };

/** A letter of the processor's first generation, of the sequence `a` unless told otherwise, that only waits. */
export function letter(position: number, overrides: Partial<DeadLetter> = {}): DeadLetter {
  return {
    ...FIRST,
    position,
    sequence: 'a',
    slice: 10,
    event: { id: `id-${position}`, type: 'Placed', stream: 'order-1', revision: position, position },
    retries: 0,
    attempts: 0,
    parkedAt: EARLIER,
    ...overrides,
  };
}

/** What could not be handled, and what waits behind it. */
export function describeDeadLetters(harness: StoreHarness<StateStore>): void {
  describe('dead letters', () => {
    const stores = useStores(harness);
    const open = async (...letters: DeadLetter[]): Promise<StateStore> => {
      const store = await stores.open();
      await createCounting(store);
      await park(store, ...letters);
      return store;
    };

    it('are kept as they were parked', async () => {
      const error = { message: 'broken "💥"\n{}', name: 'TypeError', stack: 'TypeError: broken\n  at x' };
      const failed = letter(4, {
        sequence: 'Kundin "Ä", ,{}\\',
        slice: 1023,
        error,
        attempts: 3,
        lastAttemptAt: NOW,
        retryAt: LATER,
      });
      const discarded = letter(5, { discarded: GIVEN_UP });
      const store = await open(discarded, letter(2), failed);
      assert.deepEqual((await store.deadLetters(FIRST)).map(present), [letter(2), failed].map(present));
      const given = await store.deadLetters({ ...FIRST, discarded: true });
      assert.deepEqual(given.map(present), [present(discarded)]);
    });

    it('are listed in the order of their positions, by sequence, by position and by the page', async () => {
      const store = await open(letter(20), letter(3), letter(100, { sequence: 'b' }), letter(7));
      const positions = async (query: Partial<Parameters<StateStore['deadLetters']>[0]>): Promise<number[]> =>
        (await store.deadLetters({ ...FIRST, ...query })).map(({ position }) => position);
      assert.deepEqual(await positions({}), [3, 7, 20, 100]);
      assert.deepEqual(await positions({ sequence: 'a' }), [3, 7, 20]);
      assert.deepEqual(await positions({ position: 7 }), [7]);
      assert.deepEqual(await positions({ sequence: 'b', position: 7 }), []);
      assert.deepEqual(await positions({ limit: 2 }), [3, 7]);
      assert.deepEqual(await positions({ after: 7, limit: 2 }), [20, 100]);
      assert.deepEqual(await positions({ generation: 2 }), []);
      assert.deepEqual(await positions({ processor: 'nobody' }), []);
    });

    it('are 100 at most where no limit is given', async () => {
      const store = await open(...Array.from({ length: 105 }, (_, index) => letter(index + 1)));
      assert.lengthOf(await store.deadLetters(FIRST), 100);
      assert.lengthOf(await store.deadLetters({ ...FIRST, limit: 1000 }), 105);
    });

    it('take the place of those at the same positions, the last of several in one call', async () => {
      const store = await open(letter(3), letter(3, { attempts: 1 }));
      await park(store, letter(3, { attempts: 2, lastAttemptAt: NOW, error: { message: 'again' } }));
      const [found, ...more] = await store.deadLetters(FIRST);
      assert.isEmpty(more);
      assert.deepInclude(found, { attempts: 2, error: { message: 'again' } });
      assert.deepEqual(found?.lastAttemptAt, NOW);
    });

    it('are parked and unparked with their transaction or not at all', async () => {
      const store = await open(letter(3));
      await outcome(() =>
        store.transaction(async (unit) => {
          await unit.park([letter(4)]);
          assert.isTrue(await unit.unpark(letter(3)));
          assert.isFalse(await unit.unpark(letter(3)));
          throw new Error('undone');
        }),
      );
      assert.deepEqual(
        (await store.deadLetters(FIRST)).map(({ position }) => position),
        [3],
      );
    });

    it('are unparked by one of two who try at once, and not when they are gone or given up', async () => {
      const store = await open(letter(3), letter(4), letter(5, { discarded: GIVEN_UP }));
      const unpark = (position: number): Promise<boolean> =>
        store.transaction((unit) => unit.unpark(letter(position)));
      assert.sameMembers(await Promise.all([unpark(3), unpark(3)]), [true, false]);
      assert.isFalse(await unpark(3));
      assert.isFalse(await unpark(5));
      assert.isFalse(await unpark(99));
      assert.deepEqual(
        (await store.deadLetters(FIRST)).map(({ position }) => position),
        [4],
      );
    });

    it('are due if they are the first of their sequence and never tried, or their time has come', async () => {
      const tried = { attempts: 1, error: { message: 'broken' } };
      const store = await open(
        letter(1, { sequence: 'later', ...tried, retryAt: LATER }),
        letter(2, { sequence: 'later' }),
        letter(3, { sequence: 'now', ...tried, retryAt: NOW }),
        letter(4, { sequence: 'now', ...tried, retryAt: EARLIER }),
        letter(5, { sequence: 'on command', ...tried }),
        letter(6, { sequence: 'never tried' }),
        letter(7, { sequence: 'given up', discarded: GIVEN_UP }),
        letter(8, { sequence: 'given up', ...tried, retryAt: EARLIER }),
        letter(9, { sequence: 'elsewhere', slice: 11 }),
      );
      assert.deepEqual(await due(store), [3, 6, 8, 9]);
      assert.deepEqual(await due(store, { limit: 2 }), [3, 6]);
      assert.deepEqual(await due(store, { firstSlice: 11 }), [9]);
      assert.deepEqual(await due(store, { lastSlice: 10 }), [3, 6, 8]);
      assert.deepEqual(await due(store, { now: LATER }), [1, 3, 6, 8, 9]);
      const [first] = await store.dueDeadLetters(ALL, NOW, 1);
      assert.deepEqual(
        first && present(first),
        present(letter(3, { sequence: 'now', ...tried, retryAt: NOW })),
      );
    });

    it('free the next of their sequence when they are unparked', async () => {
      const store = await open(letter(1, { attempts: 1 }), letter(2), letter(3));
      assert.deepEqual(await due(store), []);
      await store.transaction((unit) => unit.unpark(letter(1)));
      assert.deepEqual(await due(store), [2]);
    });

    it('hold their sequences back, within the range, until they are gone or given up', async () => {
      const store = await open(
        letter(1),
        letter(2),
        letter(3, { sequence: 'b', slice: 20 }),
        letter(4, { sequence: 'c', slice: 30, discarded: GIVEN_UP }),
      );
      assert.sameMembers([...(await store.parkedSequences(ALL))], ['a', 'b']);
      assert.deepEqual(await store.parkedSequences({ ...ALL, firstSlice: 11 }), ['b']);
      assert.deepEqual(await store.parkedSequences({ ...ALL, lastSlice: 19 }), ['a']);
      assert.deepEqual(await store.parkedSequences({ ...ALL, generation: 2 }), []);
      await store.transaction((unit) => unit.unpark(letter(1)));
      assert.sameMembers([...(await store.parkedSequences(ALL))], ['a', 'b']);
      await store.transaction((unit) => unit.unpark(letter(2)));
      assert.deepEqual(await store.parkedSequences(ALL), ['b']);
    });

    it('that are retried are due: the first of each selected sequence', async () => {
      const tried = { attempts: 1 };
      const store = await open(
        letter(1, tried),
        letter(2),
        letter(3, { ...tried, sequence: 'b' }),
        letter(4, { ...tried, sequence: 'c', discarded: GIVEN_UP }),
      );
      assert.equal(await store.retryDeadLetters({ ...FIRST, position: 2 }, NOW), 1);
      assert.deepEqual(await due(store), [1]);
      assert.deepEqual(await due(store, { now: EARLIER }), []);
      assert.equal(await store.retryDeadLetters({ ...FIRST, sequence: 'b' }, NOW), 1);
      assert.deepEqual(await due(store), [1, 3]);
      assert.equal(await store.retryDeadLetters(FIRST, EARLIER), 2);
      assert.deepEqual(await due(store, { now: EARLIER }), [1, 3]);
      for (const nothing of [
        { position: 4 },
        { sequence: 'c' },
        { generation: 2 },
        { processor: 'nobody' },
      ]) {
        assert.equal(await store.retryDeadLetters({ ...FIRST, ...nothing }, NOW), 0);
      }
      assert.equal(await store.retryDeadLetters({ ...FIRST, sequence: 'b', position: 1 }, NOW), 0);
    });

    it('that are given up free the next, and are kept with the reason', async () => {
      const store = await open(letter(1, { attempts: 1 }), letter(2), letter(3, { sequence: 'b' }));
      assert.equal(await store.discardDeadLetters({ ...FIRST, position: 1 }, GIVEN_UP), 1);
      assert.equal(
        await store.discardDeadLetters({ ...FIRST, position: 1 }, { ...GIVEN_UP, reason: 'x' }),
        0,
      );
      assert.deepEqual(await due(store), [2, 3]);
      const [kept] = await store.deadLetters({ ...FIRST, discarded: true });
      assert.deepEqual(kept && present(kept), present(letter(1, { attempts: 1, discarded: GIVEN_UP })));
      assert.equal(await store.discardDeadLetters({ ...FIRST, sequence: 'a' }, GIVEN_UP), 1);
      assert.deepEqual(await store.parkedSequences(ALL), ['b']);
      assert.equal(await store.discardDeadLetters(FIRST, GIVEN_UP), 1);
      assert.deepEqual(await store.parkedSequences(ALL), []);
      assert.lengthOf(await store.deadLetters({ ...FIRST, discarded: true }), 3);
    });

    it('that were given up while they were tried stay so', async () => {
      const store = await open(letter(1));
      await store.discardDeadLetters(FIRST, GIVEN_UP);
      await park(store, letter(1, { attempts: 1 }), letter(2));
      assert.deepEqual(await due(store), [2]);
      const [kept] = await store.deadLetters({ ...FIRST, discarded: true });
      assert.deepInclude(kept, { position: 1, attempts: 0 });
    });

    it('are counted by processor and generation, those given up left out', async () => {
      const store = await open(letter(1), letter(2), letter(3, { discarded: GIVEN_UP }));
      const two = await createCounting(store, { version: 2 });
      await store.createGeneration('another', { version: 1, collections: [] });
      const other = { processor: 'another', generation: 1 };
      await park(store, letter(1, { generation: two.generation }), letter(1, other));
      const counting = [
        { ...FIRST, count: 2 },
        { ...FIRST, generation: two.generation, count: 1 },
      ];
      assert.deepEqual(await store.countDeadLetters(), [{ ...other, count: 1 }, ...counting]);
      assert.deepEqual(await store.countDeadLetters(PROCESSOR), counting);
      assert.deepEqual(await store.countDeadLetters('nobody'), []);
    });

    it('are gone with their generation', async () => {
      const store = await open(letter(1));
      const two = await createCounting(store, { version: 2 });
      await park(store, letter(1, { generation: two.generation }));
      await store.dropGeneration(PROCESSOR, two.generation);
      assert.deepEqual(await store.countDeadLetters(), [{ ...FIRST, count: 1 }]);
      assert.deepEqual(await store.deadLetters({ ...FIRST, generation: two.generation }), []);
    });
  });
}

function park(store: StateStore, ...letters: readonly DeadLetter[]): Promise<void> {
  return store.transaction((unit) => unit.park(letters));
}

async function due(
  store: StateStore,
  {
    now = NOW,
    limit = 100,
    ...range
  }: { now?: Date; limit?: number; firstSlice?: number; lastSlice?: number } = {},
): Promise<number[]> {
  return (await store.dueDeadLetters({ ...ALL, ...range }, now, limit)).map(({ position }) => position);
}

/** Without the fields that are undefined: whether they are there is no part of the contract. */
function present(value: DeadLetter): unknown {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}
