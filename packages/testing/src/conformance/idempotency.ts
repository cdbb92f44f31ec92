import { DuplicateEventError, type EventStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, logIds, logOf, newEvent, newEvents, settled } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';

/** Appends that are sent again because their outcome is unknown. */
export function describeIdempotency(harness: StoreHarness<EventStore>): void {
  describe('append of known ids', () => {
    const stores = useStores(harness);

    it('returns the first result to an exact repeat, and writes nothing', async () => {
      const store = await stores.open();
      await store.append('order-0', [newEvent()]);
      const events = newEvents(3);
      const first = await store.append('order-1', events, { expected: 'no-stream' });
      assert.deepEqual(await store.append('order-1', events, { expected: 'no-stream' }), first);
      assert.deepEqual(await store.append('order-1', events), first);
      assert.lengthOf(await logOf(store), 4);
    });

    it('returns the first result after others have appended, though the expectation conflicts now', async () => {
      const store = await stores.open();
      await store.append('order-1', [newEvent()]);
      const events = newEvents(2);
      const first = await store.append('order-1', events, { expected: 0 });
      await store.append('order-1', newEvents(2));
      await store.append('order-2', newEvents(2));
      assert.deepEqual(await store.append('order-1', events, { expected: 0 }), first);
      assert.lengthOf(await logOf(store), 7);
    });

    it('returns one result to 10 concurrent repeats', async () => {
      const store = await stores.open();
      await repeatConcurrently([store]);
    });

    itNeeds(
      harness,
      'instances',
      'returns one result to 10 concurrent repeats on two instances',
      async () => {
        const store = await stores.open();
        await repeatConcurrently([store, await stores.another(store)]);
      },
    );

    itNeeds(
      harness,
      'instances',
      'returns the first result after the store was closed and opened again',
      async () => {
        const store = await stores.open();
        const events = newEvents(3);
        const first = await store.append('order-1', events, { expected: 'no-stream' });
        await store.append('order-1', [newEvent()]);
        await store.close();
        const again = await stores.another(store);
        assert.deepEqual(await again.append('order-1', events, { expected: 'no-stream' }), first);
        assert.lengthOf(await logOf(again), 4);
      },
    );

    it('takes an id in capitals for the same id', async () => {
      const store = await stores.open();
      const event = newEvent();
      const first = await store.append('order-1', [event]);
      assert.deepEqual(await store.append('order-1', [{ ...event, id: event.id.toUpperCase() }]), first);
    });

    it('refuses known ids together with new ones', async () => {
      const store = await stores.open();
      const [known, fresh] = [newEvent(), newEvent()];
      await store.append('order-1', [known]);
      for (const events of [
        [known, fresh],
        [fresh, known],
      ]) {
        await refuses(store, [known], 'order-1', () => store.append('order-1', events));
      }
    });

    it('refuses known ids for another stream', async () => {
      const store = await stores.open();
      const events = newEvents(2);
      await store.append('order-1', events);
      await refuses(store, events, 'order-2', () => store.append('order-2', events));
    });

    it('refuses known ids in another order', async () => {
      const store = await stores.open();
      const events = newEvents(2);
      await store.append('order-1', events);
      await refuses(store, events, 'order-1', () => store.append('order-1', events.toReversed()));
    });

    it('refuses known ids that were not appended side by side', async () => {
      const store = await stores.open();
      const [one, between, two] = [newEvent(), newEvent(), newEvent()];
      for (const event of [one, between, two]) await store.append('order-1', [event]);
      await refuses(store, [one, two], 'order-1', () => store.append('order-1', [one, two]));
    });

    it('refuses the same id twice in one append', async () => {
      const store = await stores.open();
      const event = newEvent();
      await refuses(store, [event], 'order-1', () => store.append('order-1', [event, event]));
    });

    it('reports a known id rather than the conflict that comes with it', async () => {
      const store = await stores.open();
      const known = newEvent();
      await store.append('order-1', [known]);
      await refuses(store, [known], 'order-1', () =>
        store.append('order-1', [known, newEvent()], { expected: 'no-stream' }),
      );
    });

    it('lets one of two concurrent appends with the same id on different streams win', async () => {
      const store = await stores.open();
      const event = newEvent();
      const { values, errors } = await settled(
        Array.from({ length: 4 }, (_, index) => store.append(`order-${index}`, [event])),
      );
      assert.lengthOf(values, 1);
      for (const error of errors) assert.instanceOf(error, DuplicateEventError);
      assert.lengthOf(await logOf(store), 1);
    });

    itNeeds(
      harness,
      'multiStreamAppend',
      'returns the first results to an exact repeat on several streams',
      async () => {
        const store = await stores.open();
        const appends = ['order-1', 'order-2'].map((stream) => ({
          stream,
          events: newEvents(2),
          expected: 'no-stream' as const,
        }));
        const first = await store.appendAll(appends);
        await store.append('order-1', [newEvent()]);
        assert.deepEqual(await store.appendAll(appends), first);
        assert.deepEqual(await store.appendAll(appends.toReversed()), first.toReversed());
        assert.lengthOf(await logOf(store), 5);
      },
    );

    itNeeds(
      harness,
      'multiStreamAppend',
      'refuses several streams of which only one is a repeat',
      async () => {
        const store = await stores.open();
        const known = newEvent();
        await store.append('order-1', [known]);
        await refuses(store, [known], 'order-1', () =>
          store.appendAll([
            { stream: 'order-2', events: [newEvent()] },
            { stream: 'order-1', events: [known] },
          ]),
        );
      },
    );
  });
}

async function repeatConcurrently(instances: readonly EventStore[]): Promise<void> {
  const events = newEvents(2);
  const results = await Promise.all(
    Array.from({ length: 10 }, (_, index) => {
      const store = instances[index % instances.length] ?? assert.fail('no instance');
      return store.append('order-1', events, { expected: 'no-stream' });
    }),
  );
  for (const result of results) assert.deepEqual(result, results[0]);
  for (const store of instances) assert.lengthOf(await logOf(store), 2);
}

/** That an append is refused for one of the ids, and leaves the log as it was. */
async function refuses(
  store: EventStore,
  events: readonly { readonly id: string }[],
  stream: string,
  append: () => Promise<unknown>,
): Promise<void> {
  const before = await logIds(store);
  const error = await failure(DuplicateEventError, 'DUPLICATE_EVENT', append);
  assert.equal(error.stream, stream);
  assert.include(
    events.map(({ id }) => id),
    error.eventId,
  );
  assert.deepEqual(await logIds(store), before);
}
