import {
  LeaseLostError,
  NestedTransactionError,
  StoreClosedError,
  TransactionEndedError,
  type StateStore,
  type StateUnit,
} from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, gate, outcome } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';
import {
  acquired,
  COUNTERS,
  createCounting,
  handleBatch,
  partitionOf,
  PROCESSOR,
  put,
  visible,
} from './read-models.js';

/** Atomicity, isolation, and what may be called where. */
export function describeTransactions(harness: StoreHarness<StateStore>): void {
  describe('transaction', () => {
    const stores = useStores(harness);

    it('returns what its callback returns, and commits effects and checkpoint together', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const returned = await store.transaction(async (unit) => {
        await handleBatch(unit, lease, { from: 0, to: 7, document: { count: 1 } });
        return 'returned';
      });
      assert.equal(returned, 'returned');
      assert.deepEqual(await visible(store), [['handled', { count: 1 }]]);
      assert.equal((await partitionOf(store, generation)).position, 7);
    });

    for (const moment of ['before', 'after'] as const) {
      it(`leaves neither effect nor checkpoint of a handler that crashes ${moment} the checkpoint`, async () => {
        const store = await stores.open();
        const generation = await createCounting(store);
        const lease = await acquired(store, generation);
        const crash = new Error('crash');
        const ended = await outcome(() =>
          store.transaction(async (unit) => {
            await unit.documents(COUNTERS, generation.generation).putMany(new Map([['handled', 1]]));
            if (moment === 'after') await unit.advance(lease, 0, 7);
            throw crash;
          }),
        );
        assert.equal(ended, crash);
        assert.deepEqual(await visible(store), []);
        assert.equal((await partitionOf(store, generation)).position, 0);
        await store.transaction((unit) => handleBatch(unit, lease, { from: 0, to: 7, document: 2 }));
        assert.deepEqual(await visible(store), [['handled', 2]]);
      });
    }

    it('undoes puts over, and deletes of, what was there', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      await put(store, generation, { a: 1, b: 2 });
      await outcome(() =>
        store.transaction(async (unit) => {
          const documents = unit.documents(COUNTERS, generation.generation);
          await documents.putMany(new Map([['a', 10]]));
          await documents.deleteMany(['b']);
          throw new Error('undone');
        }),
      );
      assert.deepEqual(await visible(store), [
        ['a', 1],
        ['b', 2],
      ]);
    });

    it('sees what it has written; others see nothing of it until it commits, and do not wait for it', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      await put(store, generation, { a: 1, b: 2 });
      const [written, release] = [gate(), gate()];
      const transaction = store.transaction(async (unit) => {
        const documents = unit.documents(COUNTERS, generation.generation);
        await documents.putMany(new Map([['a', 10]]));
        await documents.deleteMany(['b']);
        await unit.advance(lease, 0, 5);
        assert.deepEqual([...(await documents.getMany(['a', 'b']))], [['a', 10]]);
        assert.equal((await unit.live(PROCESSOR))?.partitions[0]?.position, 5);
        written.open();
        await release.opened;
      });
      await written.opened;
      assert.deepEqual(await visible(store), [
        ['a', 1],
        ['b', 2],
      ]);
      assert.equal(await store.documents(COUNTERS).get('a'), 1);
      assert.equal(await store.documents(COUNTERS).count(), 2);
      const committed = store.documentsOf(COUNTERS, generation.generation);
      assert.equal((await committed.getMany(['b'])).get('b'), 2);
      assert.equal((await partitionOf(store, generation)).position, 0);
      release.open();
      await transaction;
      assert.deepEqual(await visible(store), [['a', 10]]);
      assert.equal((await partitionOf(store, generation)).position, 5);
    });

    it('loses no update of 20 concurrent transactions that read and write one document', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const increment = async (unit: StateUnit): Promise<void> => {
        const documents = unit.documents(COUNTERS, generation.generation);
        // Everyone writes the checkpoint first: in a store whose transactions run side by side that is the lock.
        const position = (await unit.live(PROCESSOR))?.partitions[0]?.position ?? 0;
        await unit.advance(lease, position, position + 1);
        const count = Number((await documents.getMany(['n'])).get('n') ?? 0);
        await documents.putMany(new Map([['n', count + 1]]));
      };
      const attempts = Array.from({ length: 20 }, async () => {
        while ((await outcome(() => store.transaction(increment))) instanceof LeaseLostError);
      });
      await Promise.all(attempts);
      assert.equal(await store.documents(COUNTERS).get('n'), 20);
      assert.equal((await partitionOf(store, generation)).position, 20);
    });

    it('refuses calls of its own store, and goes on', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const lease = await acquired(store, generation);
      const calls: Readonly<Record<string, () => Promise<unknown>>> = {
        transaction: () => store.transaction(() => Promise.resolve()),
        createGeneration: () => createCounting(store, { version: 2 }),
        dropGeneration: () => store.dropGeneration(PROCESSOR, 99),
        acquireLease: () => acquired(store, generation),
        renewLeases: () => store.renewLeases([lease], 1000),
        releaseLease: () => store.releaseLease(lease),
        recordFailure: () => store.recordFailure(lease, undefined),
        saveSnapshot: () => store.saveSnapshot({ stream: 'order-1', revision: 0, version: 1, state: {} }),
        deleteSnapshot: () => store.deleteSnapshot('order-1'),
        close: () => store.close(),
      };
      await store.transaction(async (unit) => {
        for (const [name, call] of Object.entries(calls)) {
          const error = await failure(NestedTransactionError, 'NESTED_TRANSACTION', call);
          assert.include(error.call, name);
        }
        await handleBatch(unit, lease, { from: 0, to: 1, document: 'went on' });
      });
      assert.deepEqual(await visible(store), [['handled', 'went on']]);
      assert.lengthOf(await store.generations(PROCESSOR), 1);
    });

    it('lets its store be read in the meantime', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      await put(store, generation, { a: 1 });
      await store.transaction(async () => {
        assert.equal(await store.documents(COUNTERS).get('a'), 1);
        assert.lengthOf(await store.generations(PROCESSOR), 1);
        assert.lengthOf(await store.partitions(), 1);
        assert.isUndefined(await store.loadSnapshot('order-1'));
      });
    });

    it('does not hold what its callback began against it when it has ended', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const ended = gate();
      const begun: Promise<unknown>[] = [];
      await store.transaction(async () => {
        begun.push(ended.opened.then(() => put(store, generation, { later: 1 })));
      });
      ended.open();
      await Promise.all(begun);
      assert.deepEqual(await visible(store), [['later', 1]]);
    });

    for (const how of ['committed', 'failed'] as const) {
      it(`refuses the use of its unit after it has ${how}`, async () => {
        const store = await stores.open();
        const generation = await createCounting(store);
        const lease = await acquired(store, generation);
        const kept: StateUnit[] = [];
        await outcome(() =>
          store.transaction(async (unit) => {
            kept.push(unit);
            if (how === 'failed') throw new Error('failed');
          }),
        );
        const unit = kept[0] ?? assert.fail();
        const documents = (): ReturnType<StateUnit['documents']> =>
          unit.documents(COUNTERS, generation.generation);
        for (const use of [
          () => documents().putMany(new Map([['late', 1]])),
          () => documents().deleteMany(['late']),
          () => documents().getMany(['late']),
          () => unit.advance(lease, 0, 1),
          () => unit.live(PROCESSOR),
          () => unit.activate(PROCESSOR, 1),
        ]) {
          await failure(TransactionEndedError, 'TRANSACTION_ENDED', use);
        }
        assert.deepEqual(await visible(store), []);
        assert.equal((await partitionOf(store, generation)).position, 0);
      });
    }

    it('ends well when the store is closed while it runs', async () => {
      const store = await stores.open();
      const generation = await createCounting(store);
      const [started, release] = [gate(), gate()];
      const transaction = store.transaction(async (unit) => {
        started.open();
        await release.opened;
        await unit.documents(COUNTERS, generation.generation).putMany(new Map([['a', 1]]));
        return 'done';
      });
      await started.opened;
      const closing = store.close();
      release.open();
      assert.equal(await transaction, 'done');
      await closing;
    });
  });

  describe('a closed state store', () => {
    const stores = useStores(harness);
    const partition = { processor: PROCESSOR, generation: 1, firstSlice: 0 };
    const lease = { ...partition, holder: 'one', token: 1, position: 0 };
    const snapshot = { stream: 'order-1', revision: 0, version: 1, state: {} };

    const calls: Readonly<Record<string, (store: StateStore) => unknown>> = {
      transaction: (store) => store.transaction(() => Promise.resolve()),
      generations: (store) => store.generations(PROCESSOR),
      createGeneration: (store) => createCounting(store),
      dropGeneration: (store) => store.dropGeneration(PROCESSOR, 1),
      partitions: (store) => store.partitions(),
      acquireLease: (store) => store.acquireLease(partition, { holder: 'one', ttlMs: 1000 }),
      renewLeases: (store) => store.renewLeases([lease], 1000),
      releaseLease: (store) => store.releaseLease(lease),
      recordFailure: (store) => store.recordFailure(lease, undefined),
      'documents().get': (store) => store.documents(COUNTERS).get('a'),
      'documents().count': (store) => store.documents(COUNTERS).count(),
      'documents().entries': (store) => visible(store),
      documentsOf: (store) => store.documentsOf(COUNTERS, 1).getMany(['a']),
      loadSnapshot: (store) => store.loadSnapshot('order-1'),
      saveSnapshot: (store) => store.saveSnapshot(snapshot),
      deleteSnapshot: (store) => store.deleteSnapshot('order-1'),
    };
    for (const [name, call] of Object.entries(calls)) {
      it(`refuses ${name}`, async () => {
        const store = await stores.open();
        await createCounting(store);
        await store.close();
        await failure(StoreClosedError, 'STORE_CLOSED', () => call(store));
      });
    }

    it('refuses the reading of documents through a reader that it gave before', async () => {
      const store = await stores.open();
      await createCounting(store);
      const documents = store.documents(COUNTERS);
      await store.close();
      await failure(StoreClosedError, 'STORE_CLOSED', () => documents.get('a'));
      await failure(StoreClosedError, 'STORE_CLOSED', () => documents.count());
    });

    it('can be closed again', async () => {
      const store = await stores.open();
      await Promise.all([store.close(), store.close()]);
      await store[Symbol.asyncDispose]();
    });
  });
}
