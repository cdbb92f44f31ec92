import type { EventBatch, EventStore, ReadAllOptions } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { idsOf, logOf, newEvent, newEvents, outcome } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';

/** Ranges, directions, filters, batches, and what ends a read. */
export function describeReads(harness: StoreHarness<EventStore>): void {
  describe('read', () => {
    const stores = useStores(harness);

    it('finds nothing in an empty log and in a stream that does not exist', async () => {
      const store = await stores.open();
      assert.equal(await store.head(), 0);
      assert.deepEqual(await store.readAll().toArray(), []);
      assert.deepEqual(await store.readAll({ direction: 'backward' }).toArray(), []);
      assert.deepEqual(await store.readAll({ after: 10 }).toArray(), []);
      assert.deepEqual(await store.readStream('order-1').toArray(), []);
      assert.deepEqual(await store.readStream('order-1', { direction: 'backward', from: 3 }).toArray(), []);
    });

    it('returns every field as it was appended, with its place in stream and log', async () => {
      const store = await stores.open();
      const event = newEvent({ type: 'Placed', version: 3, data: { total: 1 }, metadata: { userId: 'u' } });
      const plain = newEvent();
      await store.append('order-1', [event, plain]);
      const [first, second] = await store.readStream('order-1').toArray();
      assert.include(first, { id: event.id, type: 'Placed', version: 3, stream: 'order-1', revision: 0 });
      assert.deepEqual(first?.data, event.data);
      assert.deepEqual(first?.metadata, event.metadata);
      assert.include(second, { id: plain.id, type: 'Happened', version: 1, revision: 1 });
      assert.deepEqual(second?.metadata, {});
      assert.deepEqual(await logOf(store), [first, second]);
    });

    it('gives every event without an id one of its own', async () => {
      const store = await stores.open();
      const event = { type: 'Happened', data: {} };
      await store.append('order-1', [event, event]);
      await store.append('order-1', [event]);
      const ids = await idsOf(store.readAll());
      assert.equal(new Set(ids).size, 3);
      for (const id of ids) assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    });

    it('reads a stream by revisions, both ends inclusive', async () => {
      const store = await stores.open();
      const events = newEvents(6);
      for (const event of events) {
        await store.append('order-1', [event]);
        await store.append('order-2', [newEvent()]);
      }
      const ids = events.map(({ id }) => id);
      const read = (options: Parameters<EventStore['readStream']>[1]): Promise<string[]> =>
        idsOf(store.readStream('order-1', options));
      assert.deepEqual(await read({}), ids);
      assert.deepEqual(await read({ from: 2, to: 4 }), ids.slice(2, 5));
      assert.deepEqual(await read({ from: 4, to: 100 }), ids.slice(4));
      assert.deepEqual(await read({ from: 4, to: 2 }), []);
      assert.deepEqual(await read({ from: 6 }), []);
      assert.deepEqual(await read({ to: 0 }), ids.slice(0, 1));
      assert.deepEqual(await read({ from: 1, limit: 2 }), ids.slice(1, 3));
      assert.deepEqual(await read({ limit: 0 }), []);
      assert.deepEqual(await read({ direction: 'backward', limit: 1 }), ids.slice(5));
      assert.deepEqual(
        await read({ direction: 'backward', from: 1, to: 3, batchSize: 2 }),
        ids.slice(1, 4).toReversed(),
      );
    });

    it('does not take a stream for another whose name it begins with', async () => {
      const store = await stores.open();
      for (const stream of ['order', 'order-', 'order-1', 'order-10', 'Order-1', 'order-1 ', 'order_1']) {
        await store.append(stream, [newEvent({ data: stream })]);
      }
      for (const stream of ['order', 'order-', 'order-1', 'order-10', 'Order-1', 'order-1 ', 'order_1']) {
        const events = await store.readStream(stream).toArray();
        assert.deepEqual(
          events.map(({ data }) => data),
          [stream],
        );
      }
    });

    it('filters by type and by category, taking both where both are given', async () => {
      const store = await stores.open();
      for (const stream of ['order-1', 'orders-1', 'order', 'payment-1-2']) {
        for (const type of ['Made', 'Changed', 'made']) {
          await store.append(stream, [newEvent({ type, data: `${stream} ${type}` })]);
        }
      }
      const read = async (filter: ReadAllOptions['filter']): Promise<unknown[]> =>
        (await store.readAll({ filter }).toArray()).map(({ data }) => data);
      assert.deepEqual(await read({ types: ['Made'] }), [
        'order-1 Made',
        'orders-1 Made',
        'order Made',
        'payment-1-2 Made',
      ]);
      assert.deepEqual(await read({ categories: ['payment'], types: ['made', 'Changed'] }), [
        'payment-1-2 Changed',
        'payment-1-2 made',
      ]);
      assert.lengthOf(await read({ categories: ['order'] }), 6);
      assert.lengthOf(await read({ categories: ['order', 'orders'] }), 9);
      assert.lengthOf(await read({}), 12);
      assert.deepEqual(await read({ types: [] }), []);
      assert.deepEqual(await read({ types: ["Made' or true --", 'Nothing'] }), []);
      assert.deepEqual(await read({ categories: ['order-1', '%', 'order%'] }), []);
    });

    it('says in every batch how far the read has come, through what the filter leaves out', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(40));
      await store.append('order-1', [newEvent({ type: 'Rare' })]);
      const { position: head } = await store.append('order-1', newEvents(40));
      const batches = await allBatches(store, { filter: { types: ['Rare'] }, batchSize: 10 });
      assert.equal(batches.at(-1)?.through, head);
      const never = await allBatches(store, { filter: { types: ['Never'] } });
      assert.equal(never.at(-1)?.through, head);
      assert.isTrue(never.every(({ events }) => events.length === 0));
    });

    it('ends a batch at its size and the last one at the end of the range', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(25));
      const log = await logOf(store);
      const to = log[21]?.position ?? assert.fail();
      const batches = await allBatches(store, { to, batchSize: 10 });
      assert.deepEqual(
        batches.map(({ events }) => events.length),
        [10, 10, 2],
      );
      assert.deepEqual(
        batches.map(({ through }) => through),
        [log[9]?.position, log[19]?.position, to],
      );
    });

    it('reads on to what is appended while it reads', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(4));
      const seen: string[] = [];
      for await (const { id } of store.readAll({ batchSize: 2 })) {
        seen.push(id);
        if (seen.length === 1) await store.append('order-1', newEvents(2));
      }
      assert.lengthOf(seen, 6);
    });

    it('leaves nothing open when a read is left early', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(30));
      for (let round = 0; round < 20; round++) {
        for await (const event of store.readAll({ batchSize: 5 })) if (event.revision === 7) break;
        for await (const event of store.readStream('order-1', { batchSize: 5 }))
          if (event.revision === 1) break;
        for await (const batch of store.readAll().batches()) if (batch.events.length > 0) break;
      }
      await store.append('order-1', [newEvent()]);
      assert.lengthOf(await logOf(store), 31);
    });

    it('hands out copies: what one reader changes, no other sees', async () => {
      const store = await stores.open();
      const data = { list: [1] };
      await store.append('order-1', [newEvent({ data, metadata: { tags: ['a'] } })]);
      data.list.push(2);
      const [event] = await store.readAll().toArray();
      const [again] = await store.readStream('order-1').toArray();
      assert.notStrictEqual(event?.data, again?.data);
      assert.deepEqual(again?.data, { list: [1] });
    });

    it('ends with the reason of its signal', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(10));
      const reason = new Error('enough');
      const aborted = AbortSignal.abort(reason);
      assert.equal(await outcome(() => store.readAll({ signal: aborted }).toArray()), reason);
      assert.equal(await outcome(() => store.readStream('order-1', { signal: aborted }).toArray()), reason);
      const controller = new AbortController();
      const seen: string[] = [];
      const stopped = await outcome(async () => {
        for await (const { id } of store.readAll({ signal: controller.signal, batchSize: 2 })) {
          seen.push(id);
          controller.abort(reason);
        }
      });
      assert.equal(stopped, reason);
      assert.isBelow(seen.length, 10);
    });

    it('records a time that lies between before and after the append', async () => {
      const store = await stores.open();
      const before = Date.now();
      await store.append('order-1', newEvents(2));
      const after = Date.now();
      // Five minutes of leeway: the store's clock may be another machine's.
      for (const { recordedAt } of await logOf(store)) {
        assert.instanceOf(recordedAt, Date);
        assert.isAtLeast(recordedAt.getTime(), before - 300_000);
        assert.isAtMost(recordedAt.getTime(), after + 300_000);
      }
    });

    itNeeds(harness, 'clock', 'never records a time before that of an earlier event', async () => {
      let now = 5000.5;
      const store = await stores.open({ clock: { now: () => now, sleep: () => Promise.resolve() } });
      for (const time of [5000.5, 4000, 6000, 1]) {
        now = time;
        await store.append(`order-${time}`, [newEvent()]);
      }
      const recorded = (await logOf(store)).map(({ recordedAt }) => recordedAt.getTime());
      assert.deepEqual(recorded, [5000, 5000, 6000, 6000]);
    });
  });
}

async function allBatches(store: EventStore, options: ReadAllOptions): Promise<EventBatch[]> {
  const batches: EventBatch[] = [];
  for await (const batch of store.readAll(options).batches()) batches.push(batch);
  return batches;
}
