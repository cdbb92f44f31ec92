import { StoreClosedError, type EventStore, type RecordedEvent } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import {
  assertWholeLog,
  failure,
  gate,
  logIds,
  logOf,
  newEvent,
  newEvents,
  outcome,
} from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';

/** Reading along while others append, and being told that there is more. */
export function describeTailing(harness: StoreHarness<EventStore>): void {
  describe('changes', () => {
    const stores = useStores(harness);

    it('resolves with the head at once when there is more already', async () => {
      const store = await stores.open();
      const { position } = await store.append('order-1', newEvents(3));
      assert.equal(await store.changes(0), position);
      assert.equal(await store.changes(position - 1), position);
    });

    it('wakes everyone who waits for less than the new head', async () => {
      const store = await stores.open();
      const waiting = [store.changes(0), store.changes(0)];
      const { position } = await store.append('order-1', [newEvent()]);
      for (const head of await Promise.all(waiting)) assert.isAtLeast(head, position);
      const next = store.changes(position);
      const later = await store.append('order-1', [newEvent()]);
      assert.isAtLeast(await next, later.position);
    });

    it('resolves only when what it tells of can be read', async () => {
      const store = await stores.open();
      for (let round = 0, after = 0; round < 10; round++) {
        const reading = store.changes(after).then(async (head) => ({ head, ids: await logIds(store) }));
        const event = newEvent();
        await store.append('order-1', [event]);
        const { head, ids } = await reading;
        assert.include(ids, event.id);
        after = head;
      }
    });

    itNeeds(harness, 'instances', 'wakes those who wait on another instance', async () => {
      const store = await stores.open();
      const other = await stores.another(store);
      const waiting = other.changes(0);
      const { position } = await store.append('order-1', [newEvent()]);
      assert.isAtLeast(await waiting, position);
      assert.lengthOf(await logOf(other), 1);
    });

    it("rejects with its signal's reason, before and while it waits", async () => {
      const store = await stores.open();
      const reason = new Error('enough');
      assert.equal(await outcome(() => store.changes(0, AbortSignal.abort(reason))), reason);
      const controller = new AbortController();
      const waiting = outcome(() => store.changes(0, controller.signal));
      const other = store.changes(0);
      controller.abort(reason);
      assert.equal(await waiting, reason);
      await store.append('order-1', [newEvent()]);
      assert.isAbove(await other, 0);
    });

    it('rejects when the store is closed while it waits', async () => {
      const store = await stores.open();
      const waiting = failure(StoreClosedError, 'STORE_CLOSED', () => store.changes(0));
      await store.close();
      await waiting;
    });
  });

  describe('a reader that follows the log', () => {
    const stores = useStores(harness);

    it('gets every event once and in order while 10 appenders write', async () => {
      const store = await stores.open();
      await followWhileAppending(store, [store]);
    });

    itNeeds(
      harness,
      'instances',
      'gets every event once and in order while 10 appenders write on two other instances',
      async () => {
        const store = await stores.open();
        await followWhileAppending(store, [await stores.another(store), await stores.another(store)]);
      },
    );

    it('passes no position that is filled later', async () => {
      const store = await stores.open();
      const done = gate();
      let finished = false;
      const appending = appendFrom([store], 10, 20).finally(() => (finished = true));
      const seen = new Map<number, string>();
      while (!finished) {
        const log = await logOf(store);
        const head = log.at(-1)?.position ?? 0;
        for (const [position] of seen) if (position > head) assert.fail('the log lost an event');
        const known = [...seen.keys()].at(-1) ?? 0;
        assert.equal(log.filter(({ position }) => position <= known).length, seen.size);
        for (const { position, id } of log) seen.set(position, id);
        await new Promise((resolve) => setImmediate(resolve));
      }
      done.open();
      await appending;
    });
  });
}

async function followWhileAppending(reader: EventStore, writers: readonly EventStore[]): Promise<void> {
  const [appenders, rounds] = [10, 15];
  const appending = appendFrom(writers, appenders, rounds);
  const seen: RecordedEvent[] = [];
  for (let after = 0; seen.length < appenders * rounds * 2;) {
    await reader.changes(after);
    for await (const { events, through } of reader.readAll({ after, batchSize: 7 }).batches()) {
      seen.push(...events);
      after = through;
    }
  }
  const appended = await appending;
  assert.sameMembers(
    seen.map(({ id }) => id),
    appended,
  );
  assertWholeLog(seen);
  assert.deepEqual(
    seen.map(({ id }) => id),
    await logIds(reader),
  );
}

/** Each appender appends two events at a time, half of them to a stream that all of them share. */
async function appendFrom(
  writers: readonly EventStore[],
  appenders: number,
  rounds: number,
): Promise<string[]> {
  const appended = Array.from({ length: appenders }, async (_, appender) => {
    const writer = writers[appender % writers.length] ?? assert.fail('no writer');
    const ids: string[] = [];
    for (let round = 0; round < rounds; round++) {
      const events = newEvents(2);
      await writer.append(round % 2 === 0 ? 'order-shared' : `order-${appender}`, events);
      ids.push(...events.map(({ id }) => id));
    }
    return ids;
  });
  return (await Promise.all(appended)).flat();
}
