import type { InboxMessage, InboxOptions, StateStore } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { outcome } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import { counting, inboxOf } from './inbox.js';
import { COUNTERS, createCounting, visible } from './read-models.js';

const KEYS = ['a', 'b', 'c'];

/** One arrival of a message: which of its key, and whether its work ends badly. */
interface Arrival {
  readonly key: string;
  readonly number: number;
  readonly crashes: boolean;
}

/** Random deliveries, with repeats, in any order across keys, and work that fails. */
export function describeInboxModel(harness: StoreHarness<StateStore>): void {
  describe('an inbox, whatever arrives', () => {
    const stores = useStores(harness);

    /** The effects of the messages, counted; those of every run under keys of their own. */
    async function check(
      dedupeBy: InboxOptions['dedupeBy'],
      arrivals: fc.Arbitrary<readonly Arrival[]>,
    ): Promise<void> {
      const store = await stores.open();
      await createCounting(store);
      let run = 0;
      await fc.assert(
        fc.asyncProperty(arrivals, async (all) => {
          const source = `source-${run++}`;
          const done = new Set<string>();
          // Some arrive at the same time.
          for (let at = 0; at < all.length; at += 3) {
            await Promise.all(all.slice(at, at + 3).map((one) => arrive(store, dedupeBy, source, one, done)));
          }
          const effects = (await visible(store)).filter(([key]) => key.startsWith(`${source} `));
          assert.deepEqual(
            effects,
            [...done].sort().map((key) => [key, 1]),
          );
          await clear(store);
        }),
        { numRuns: 30 },
      );
    }

    it('by id, has the effect of every message exactly once', async () => {
      const arrival = fc.record({
        key: fc.constantFrom(...KEYS),
        number: fc.nat(5),
        crashes: fc.boolean(),
      });
      await check('id', fc.array(arrival, { maxLength: 30 }));
    });

    it('by sequence, has it too where each key keeps its order and goes back to what failed', async () => {
      await check('sequence', fc.array(choice(), { maxLength: 40 }).map(inOrder));
    });
  });
}

async function arrive(
  store: StateStore,
  dedupeBy: InboxOptions['dedupeBy'],
  source: string,
  { key, number, crashes }: Arrival,
  done: Set<string>,
): Promise<void> {
  const effect = `${source} ${key} ${number}`;
  const message: InboxMessage = { id: `${key}-${number}`, source, key, sequence: number };
  const inbox = inboxOf(store, { dedupeBy });
  const failed = await outcome(() =>
    inbox.once(message, async (unit) => {
      await counting(effect)(unit);
      if (crashes) throw new Error('crash');
      done.add(effect);
    }),
  );
  if (!crashes) assert.isUndefined(failed);
}

/** Which key's turn it is, how far its sender goes back, and whether the work fails. */
interface Choice {
  readonly key: string;
  readonly back: number;
  readonly crashes: boolean;
}

function choice(): fc.Arbitrary<Choice> {
  return fc.record({ key: fc.constantFrom(...KEYS), back: fc.nat(3), crashes: fc.boolean() });
}

/** A sender for each key, which may go back any number of messages, and goes on only behind those that succeeded. */
function inOrder(choices: readonly Choice[]): Arrival[] {
  const next = new Map<string, number>();
  // Arrivals of one key at the same time have no order: each group of three has every key once.
  return choices.flatMap(({ back, crashes }, index) => {
    const key = KEYS[index % KEYS.length] ?? 'a';
    const at = next.get(key) ?? 0;
    const number = Math.max(0, at - back);
    if (number === at && !crashes) next.set(key, at + 1);
    return [{ key, number, crashes }];
  });
}

/** Leaves nothing for the next run to look through. */
async function clear(store: StateStore): Promise<void> {
  const keys = (await visible(store)).map(([key]) => key);
  await store.transaction((unit) => unit.documents(COUNTERS, 1).deleteMany(keys));
}
