import type { StateStore, WorkerPresence } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { until } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';

const LONG = 600_000;

function worker(name: string, overrides: Partial<WorkerPresence> = {}): WorkerPresence {
  return { name, processors: ['counting'], report: { events: 1 }, ...overrides };
}

/** Who works here. */
export function describeWorkerPresence(harness: StoreHarness<StateStore>): void {
  describe('a worker', () => {
    const stores = useStores(harness);

    it('sees itself and the others, by name, as they said they are', async () => {
      const store = await stores.open();
      assert.deepEqual(await store.workers(), []);
      const b = worker('b "ä"', { processors: ['x', 'y "{},\\'], report: [null, '💥'] });
      assert.deepEqual(await store.announceWorker(b, LONG), [b]);
      const a = worker('a', { processors: [], report: null });
      assert.deepEqual(await store.announceWorker(a, LONG), [a, b]);
      assert.deepEqual(await store.workers(), [a, b]);
    });

    it('is seen as it said last', async () => {
      const store = await stores.open();
      await store.announceWorker(worker('a'), LONG);
      const changed = worker('a', { processors: ['other'], report: { events: 2 } });
      assert.deepEqual(await store.announceWorker(changed, LONG), [changed]);
      assert.deepEqual(await store.workers(), [changed]);
    });

    it('is gone at once when it withdraws', async () => {
      const store = await stores.open();
      await store.announceWorker(worker('a'), LONG);
      await store.announceWorker(worker('b'), LONG);
      await store.withdrawWorker('a');
      await store.withdrawWorker('nobody');
      assert.deepEqual(await store.workers(), [worker('b')]);
    });

    it('is gone when it has said nothing for too long, and back when it speaks again', async () => {
      const store = await stores.open();
      await store.announceWorker(worker('a'), 20);
      await store.announceWorker(worker('b'), LONG);
      await until(async () => (await store.workers()).length === 1);
      assert.deepEqual(await store.announceWorker(worker('b'), LONG), [worker('b')]);
      assert.deepEqual(await store.announceWorker(worker('a'), LONG), [worker('a'), worker('b')]);
    });

    it('is seen by all when many speak at once, again and again', async () => {
      const store = await stores.open();
      await speakAtOnce([store]);
    });

    itNeeds(harness, 'instances', 'is seen on other instances, from which it may go silently', async () => {
      const store = await stores.open();
      const other = await stores.another(store);
      await speakAtOnce([store, other]);
      await store.announceWorker(worker('w-0'), 20);
      const left = await until(async () => {
        const seen = await other.announceWorker(worker('w-1'), LONG);
        return seen.length < 10 && seen;
      });
      assert.deepEqual(
        left.map(({ name }) => name),
        Array.from({ length: 9 }, (_, index) => `w-${index + 1}`),
      );
    });
  });
}

/** Ten workers, all expired again and again, so that each removes the others while they come back. */
async function speakAtOnce(instances: readonly [StateStore, ...StateStore[]]): Promise<void> {
  const names = Array.from({ length: 10 }, (_, index) => `w-${index}`);
  const speak = (ttlMs: number): Promise<unknown> =>
    Promise.all(
      names.map((name, index) => {
        const store = instances[index % instances.length] ?? instances[0];
        return store.announceWorker(worker(name), ttlMs);
      }),
    );
  for (let round = 0; round < 10; round++) await speak(0);
  await speak(LONG);
  for (const store of instances) {
    assert.deepEqual(
      (await store.workers()).map(({ name }) => name),
      names,
    );
  }
}
