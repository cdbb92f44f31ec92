import {
  LeaseLostError,
  NestedTransactionError,
  RevisionConflictError,
  TransactionEndedError,
  type InlineHook,
  type Lease,
  type LogUnit,
  type RecordedEvent,
  type StateUnit,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import {
  assertWholeLog,
  failure,
  gate,
  idsOf,
  logIds,
  logOf,
  newEvent,
  newEvents,
  outcome,
  settled,
} from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import { acquired, COUNTERS, createCounting, handleBatch, partitionOf, visible } from './read-models.js';

/** Hooks that run in the append's own transaction. */
export function describeInline(harness: StoreHarness<Store>): void {
  describe('an inline hook', () => {
    const stores = useStores(harness);
    const itInline = (title: string, body: () => Promise<void>): void =>
      itNeeds(harness, 'inline', title, body);

    itInline('gets the events as they will be read', async () => {
      const store = await stores.open();
      await store.append('order-1', [newEvent()]);
      const got: (readonly RecordedEvent[])[] = [];
      await store.append('order-1', newEvents(2, { metadata: { userId: 'u' } }), {
        inline: async (events) => void got.push(events),
      });
      assert.lengthOf(got, 1);
      assert.deepEqual(got[0], (await logOf(store)).slice(1));
    });

    itInline('commits its effects and its checkpoint with the append', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const { position } = await store.append('order-1', newEvents(3), {
        inline: (events, unit) =>
          handleBatch(unit, lease, { from: 0, to: events.at(-1)?.position ?? 0, document: events.length }),
      });
      assert.deepEqual(await visible(store), [['handled', 3]]);
      assert.equal((await partitionOf(store, generation)).position, position);
    });

    itInline('that fails undoes its append and its effects', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const first = newEvent();
      await store.append('order-1', [first]);
      const head = await store.head();
      const crash = new Error('crash');
      const event = newEvent();
      const ended = await outcome(() =>
        store.append('order-1', [event], {
          inline: async (_, unit) => {
            await unit.documents(COUNTERS, generation.generation).putMany(new Map([['a', 1]]));
            throw crash;
          },
        }),
      );
      assert.equal(ended, crash);
      assert.deepEqual(await logIds(store), [first.id]);
      assert.equal(await store.head(), head);
      assert.deepEqual(await visible(store), []);
      assert.include(await store.append('order-1', [event], { expected: 0 }), { revision: 1 });
    });

    itInline('that finds its lease lost undoes its append', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await acquired(store, generation);
      await failure(LeaseLostError, 'LEASE_LOST', () =>
        store.append('order-1', [newEvent()], { inline: advancing(lease) }),
      );
      assert.deepEqual(await logIds(store), []);
    });

    itInline('that fails does so alone among concurrent appends', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const good = newEvents(8);
      const counting: InlineHook = async (_, unit) => {
        const documents = unit.documents(COUNTERS, generation.generation);
        const count = Number((await documents.getMany(['n'])).get('n') ?? 0);
        await documents.putMany(new Map([['n', count + 1]]));
      };
      const failing: InlineHook = async (events, unit) => {
        await counting(events, unit);
        throw new Error('crash');
      };
      const { values, errors } = await settled([
        ...good.slice(0, 3).map((event) => store.append('order-1', [event], { inline: counting })),
        store.append('order-1', newEvents(2), { inline: failing }),
        store.append('order-2', [good[3] ?? assert.fail()]),
        store.append('order-2', newEvents(2), { expected: 50, inline: counting }),
        ...good.slice(4).map((event) => store.append('order-1', [event], { inline: counting })),
      ]);
      assert.lengthOf(values, 8);
      assert.lengthOf(errors, 2);
      assert.isTrue(errors.some((error) => error instanceof RevisionConflictError));
      assertWholeLog(await logOf(store));
      assert.sameMembers(
        await logIds(store),
        good.map(({ id }) => id),
      );
      assert.equal(await store.documents(COUNTERS).get('n'), 7);
    });

    itInline('reads the log with the events of its own append, which nobody else sees yet', async () => {
      const store = await stores.open();
      const before = newEvent({ type: 'Before' });
      await store.append('order-1', [before]);
      const events = newEvents(5);
      const [reading, release] = [gate(), gate()];
      const appending = store.append('order-1', events, {
        inline: async (_, unit) => {
          const ids = [before, ...events].map(({ id }) => id);
          assert.deepEqual(await idsOf(unit.readAll({ batchSize: 2 })), ids);
          assert.deepEqual(await idsOf(unit.readAll({ direction: 'backward' })), ids.toReversed());
          assert.deepEqual(await idsOf(unit.readAll({ filter: { types: ['Before'] } })), [before.id]);
          reading.open();
          await release.opened;
        },
      });
      await reading.opened;
      assert.deepEqual(await logIds(store), [before.id]);
      assert.lengthOf(await store.readStream('order-1').toArray(), 1);
      const waiting = store.changes((await logOf(store)).at(-1)?.position ?? 0);
      release.open();
      const { position } = await appending;
      assert.equal(await waiting, position);
      assert.lengthOf(await logOf(store), 6);
    });

    itInline('does not run when its append conflicts, repeats an earlier one, or has no events', async () => {
      const store = await stores.open();
      let runs = 0;
      const inline: InlineHook = async () => void (runs += 1);
      const event = newEvent();
      await store.append('order-1', [event], { inline });
      await store.append('order-1', [event], { inline });
      await outcome(() => store.append('order-1', [newEvent()], { expected: 9, inline }));
      await store.append('order-1', [], { inline });
      assert.equal(runs, 1);
    });

    itInline('must use its unit, not the store, and only while it runs', async () => {
      const store = await stores.open();
      const kept: (StateUnit & LogUnit)[] = [];
      await store.append('order-1', [newEvent()], {
        inline: async (_, unit) => {
          kept.push(unit);
          await failure(NestedTransactionError, 'NESTED_TRANSACTION', () =>
            store.append('order-1', [newEvent()]),
          );
          await failure(NestedTransactionError, 'NESTED_TRANSACTION', () =>
            store.transaction(() => Promise.resolve()),
          );
        },
      });
      const unit = kept[0] ?? assert.fail();
      await failure(TransactionEndedError, 'TRANSACTION_ENDED', () => unit.readAll().toArray());
      await failure(TransactionEndedError, 'TRANSACTION_ENDED', () => unit.live('counting'));
      assert.lengthOf(await logOf(store), 1);
    });

    itNeeds(
      harness,
      ['inline', 'multiStreamAppend'],
      'runs once for an append to several streams, with the events of all',
      async () => {
        const store = await stores.open();
        const got: string[][] = [];
        const [one, two] = [newEvents(2), newEvents(1)];
        const appends = [
          { stream: 'order-1', events: one },
          { stream: 'order-2', events: two },
        ];
        await store.appendAll(appends, {
          inline: async (events) => void got.push(events.map(({ id }) => id)),
        });
        assert.deepEqual(got, [[...one, ...two].map(({ id }) => id)]);
        const more = appends.map(({ stream }) => ({ stream, events: newEvents(2) }));
        const crash = new Error('crash');
        const ended = await outcome(() => store.appendAll(more, { inline: () => Promise.reject(crash) }));
        assert.equal(ended, crash);
        assert.lengthOf(await logOf(store), 3);
      },
    );
  });
}

function advancing(lease: Lease): InlineHook {
  return (events, unit) => unit.advance(lease, 0, events.at(-1)?.position ?? 0);
}
