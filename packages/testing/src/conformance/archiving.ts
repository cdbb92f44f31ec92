import {
  createApplication,
  decider,
  defineEvent,
  documentProjection,
  DuplicateEventError,
  ImportItemError,
  InvalidArgumentError,
  NestedTransactionError,
  revisionOf,
  RevisionConflictError,
  silentLogger,
  StoreClosedError,
  StreamArchivedError,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import { failure, idsOf, logIds, logOf, newEvent, newEvents } from './expectations.js';
import { itNeeds, useStores, type Capability, type StoreHarness } from './harness.js';

const Paid = defineEvent('Paid', (amount: number) => ({ amount }));

const purse = (snapshotEvery?: number) =>
  decider({
    category: 'purse',
    events: [Paid],
    snapshotEvery,
    initial: () => ({ total: 0 }),
    decide: (amount: number) => Paid(amount),
    evolve: ({ total }, { data }) => ({ total: total + data.amount }),
  });

/** Streams whose events were moved out of the hot path, in part or whole. */
export function describeArchiving(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>, also: readonly Capability[] = []): void =>
    itNeeds(harness, ['archiving', ...also], title, body);

  describe('truncateStream and archiveStream', () => {
    const stores = useStores(harness);

    /** A log of two streams whose events alternate. */
    async function filled(): Promise<{ store: Store; order: string[]; all: string[] }> {
      const store = await stores.open();
      const [order, all]: [string[], string[]] = [[], []];
      for (let index = 0; index < 6; index++) {
        const [one, two] = [newEvent({ data: { index } }), newEvent()];
        await store.append('order-1', [one]);
        await store.append('order-2', [two]);
        order.push(one.id);
        all.push(one.id, two.id);
      }
      return { store, order, all };
    }

    itCan('take events out of the stream, but none out of the log', async () => {
      const { store, order, all } = await filled();
      const before = await logOf(store);
      assert.equal(await store.truncateStream('order-1', { before: 4 }), 4);
      assert.deepEqual(await idsOf(store.readStream('order-1')), order.slice(4));
      assert.deepEqual(await logOf(store), before);
      assert.equal(await store.archiveStream('order-1'), 2);
      assert.deepEqual(await idsOf(store.readStream('order-1')), []);
      assert.deepEqual(await logOf(store), before);
      assert.deepEqual(await idsOf(store.readAll({ direction: 'backward', batchSize: 5 })), all.toReversed());
      assert.lengthOf(await store.readStream('order-2').toArray(), 6);
    });

    itCan('leave every read of the log as it was, by range, filter, direction and page', async () => {
      const { store, all } = await filled();
      await store.append('basket-1', newEvents(3, { type: 'Other' }));
      const reads = [
        {},
        { after: 3, to: 9 },
        { after: 5, limit: 3 },
        { filter: { types: ['Other'] } },
        { filter: { categories: ['order'] }, direction: 'backward' as const, limit: 4 },
        { filter: { categories: ['basket'] } },
        { direction: 'backward' as const, to: 8 },
      ].flatMap((options) => [1, 4, 1000].map((batchSize) => ({ ...options, batchSize })));
      const results = (): Promise<string[][]> =>
        Promise.all(reads.map((options) => idsOf(store.readAll(options))));
      const before = await results();
      await store.truncateStream('order-1', { before: 3 });
      await store.archiveStream('order-2');
      await store.archiveStream('basket-1');
      assert.deepEqual(await results(), before);
      assert.lengthOf(await logIds(store), all.length + 3);
    });

    itCan('are read on request, whole and in order', async () => {
      const { store, order } = await filled();
      const read = (options: object = {}): Promise<string[]> =>
        idsOf(store.readStream('order-1', { archived: true, ...options }));
      await store.truncateStream('order-1', { before: 4 });
      assert.deepEqual(await read(), order);
      assert.deepEqual(await read({ batchSize: 3 }), order);
      assert.deepEqual(await read({ from: 2, to: 4 }), order.slice(2, 5));
      assert.deepEqual(
        await read({ direction: 'backward', limit: 3, batchSize: 2 }),
        order.slice(3).toReversed(),
      );
      await store.archiveStream('order-1');
      assert.deepEqual(await read(), order);
      assert.deepEqual(await read({ from: 5 }), order.slice(5));
    });

    itCan('do not change the revision: expectations and appends go on from it', async () => {
      const { store } = await filled();
      for (const before of [3, 6]) {
        await store.truncateStream('order-1', { before });
        const { actual } = await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
          store.append('order-1', [newEvent()], { expected: 'no-stream' }),
        );
        assert.equal(actual, 5);
        assert.equal((await store.append('order-1', [], {})).revision, 5);
      }
      const { revision } = await store.append('order-1', newEvents(2), { expected: 5 });
      assert.equal(revision, 7);
      assert.equal((await store.append('order-1', [newEvent()], { expected: 'stream-exists' })).revision, 8);
      assert.deepEqual(
        (await store.readStream('order-1').toArray()).map((event) => event.revision),
        [6, 7, 8],
      );
    });

    itCan('go on with positions and times when the end of the log is archived', async () => {
      const { store } = await filled();
      const head = await store.head();
      const last = (await logOf(store)).at(-1)?.recordedAt.getTime() ?? 0;
      await store.archiveStream('order-2');
      await store.archiveStream('order-1');
      assert.equal(await store.head(), head);
      assert.equal(await store.changes(head - 1), head);
      const { position } = await store.append('order-3', [newEvent()]);
      assert.isAbove(position, head);
      const log = await logOf(store);
      assert.lengthOf(log, 13);
      assert.isAtLeast(log.at(-1)?.recordedAt.getTime() ?? 0, last);
    });

    itCan('keep ids taken: repeats get their first result, and others are refused', async () => {
      const store = await stores.open();
      const events = newEvents(3);
      const first = await store.append('order-1', events, { expected: 'no-stream' });
      const [known = assert.fail()] = events;
      for (const move of [
        () => store.truncateStream('order-1', { before: 2 }),
        () => store.archiveStream('order-1'),
      ]) {
        await move();
        assert.deepEqual(await store.append('order-1', events, { expected: 'no-stream' }), first);
        for (const reused of [[known], [newEvent(), known]]) {
          await failure(DuplicateEventError, 'DUPLICATE_EVENT', () => store.append('order-2', reused));
        }
      }
      assert.lengthOf(await logOf(store), 3);
    });

    itCan('close an archived stream, until it is reopened', async () => {
      const { store, order } = await filled();
      await store.archiveStream('order-1');
      const event = newEvent();
      for (const expected of ['any', 'no-stream', 'stream-exists', 5, 2] as const) {
        const error = await failure(StreamArchivedError, 'STREAM_ARCHIVED', () =>
          store.append('order-1', [event], { expected }),
        );
        assert.equal(error.stream, 'order-1');
      }
      assert.equal((await store.append('order-1', [])).revision, 5);
      assert.equal(await store.archiveStream('order-1'), 0);
      await store.reopenStream('order-1');
      assert.equal((await store.append('order-1', [event], { expected: 5 })).revision, 6);
      assert.deepEqual(await idsOf(store.readStream('order-1')), [event.id]);
      assert.deepEqual(await idsOf(store.readStream('order-1', { archived: true })), [...order, event.id]);
      assert.equal(await store.archiveStream('order-1'), 1);
      await failure(StreamArchivedError, 'STREAM_ARCHIVED', () => store.append('order-1', [newEvent()]));
    });

    itCan('fail the append to an archived stream alone among concurrent ones', async () => {
      const { store } = await filled();
      await store.archiveStream('order-1');
      const ended = await Promise.allSettled(
        ['order-2', 'order-1', 'order-3', 'order-1', 'order-2'].map((stream) =>
          store.append(stream, newEvents(2)),
        ),
      );
      assert.deepEqual(
        ended.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
      );
      assert.lengthOf(await logOf(store), 18);
    });

    itCan('do nothing to a stream that does not exist', async () => {
      const store = await stores.open();
      assert.equal(await store.archiveStream('order-1'), 0);
      assert.equal(await store.truncateStream('order-1', { before: 5 }), 0);
      await store.reopenStream('order-1');
      assert.equal((await store.append('order-1', [newEvent()], { expected: 'no-stream' })).revision, 0);
    });

    itCan('may be repeated, and truncate nothing below what is archived already', async () => {
      const { store, order } = await filled();
      assert.equal(await store.truncateStream('order-1', { before: 0 }), 0);
      assert.equal(await store.truncateStream('order-1', { before: 4 }), 4);
      assert.equal(await store.truncateStream('order-1', { before: 4 }), 0);
      assert.equal(await store.truncateStream('order-1', { before: 2 }), 0);
      assert.deepEqual(await idsOf(store.readStream('order-1')), order.slice(4));
    });

    itCan(
      'hold for other instances, and after the store was closed',
      async () => {
        const { store, order } = await filled();
        const other = await stores.another(store);
        await store.truncateStream('order-1', { before: 4 });
        await store.archiveStream('order-2');
        assert.deepEqual(await idsOf(other.readStream('order-1')), order.slice(4));
        await failure(StreamArchivedError, 'STREAM_ARCHIVED', () => other.append('order-2', [newEvent()]));
        assert.equal((await other.append('order-1', [newEvent()], { expected: 5 })).revision, 6);
        assert.deepEqual(await logOf(store), await logOf(other));
      },
      ['instances'],
    );

    itCan(
      'are seen inside a transaction as outside',
      async () => {
        const { store, order } = await filled();
        await store.truncateStream('order-1', { before: 4 });
        await store.archiveStream('order-2');
        await store.transaction(async (transaction) => {
          assert.deepEqual(await idsOf(transaction.readStream('order-1')), order.slice(4));
          assert.deepEqual(await idsOf(transaction.readStream('order-1', { archived: true })), order);
          assert.lengthOf(await transaction.readAll().toArray(), 12);
          await failure(StreamArchivedError, 'STREAM_ARCHIVED', () =>
            store.append('order-2', [newEvent()], { transaction }),
          );
          await store.append('order-1', [newEvent()], { transaction, expected: 5 });
          for (const call of [
            () => store.truncateStream('order-1', { before: 1 }),
            () => store.archiveStream('order-1'),
            () => store.reopenStream('order-1'),
          ]) {
            await failure(NestedTransactionError, 'NESTED_TRANSACTION', call);
          }
        });
        assert.lengthOf(await logOf(store), 13);
      },
      ['transactions'],
    );

    itCan('let projections that begin late see every event', async () => {
      const store = await stores.open();
      const totals = documentProjection('totals', { initial: () => ({ total: 0 }) }).on(
        Paid,
        ({ total }, { data }) => ({ total: total + data.amount }),
        { key: () => 'all' },
      );
      const app = createApplication({ store, projections: [totals] });
      for (let amount = 1; amount <= 10; amount++) await app.append(`purse-${amount % 2}`, [Paid(amount)]);
      await store.truncateStream('purse-0', { before: 3 });
      await store.archiveStream('purse-1');
      await app.catchUp();
      assert.deepEqual(await app.readModel(totals).get('all'), { total: 55 });
      await app.rebuild(totals);
      assert.deepEqual(await app.readModel(totals).get('all'), { total: 55 });
    });

    for (const snapshotEvery of [undefined, 4]) {
      const having = snapshotEvery ? 'with snapshots' : 'without snapshots';
      itCan(`never change what an aggregate ${having} is loaded as`, async () => {
        const store = await stores.open();
        const type = purse(snapshotEvery);
        const app = createApplication({ store, aggregates: [type], logger: silentLogger });
        const purses = app.repository(type);
        for (let amount = 1; amount <= 6; amount++) await purses.upsert('1', (one) => one.execute(amount));
        for (const move of [
          () => store.truncateStream('purse-1', { before: 3 }),
          () => store.truncateStream('purse-1', { before: 6 }),
          () => store.archiveStream('purse-1'),
        ]) {
          await move();
          const fresh = app.repository(type, { cacheSize: 0 });
          const loaded = await fresh.load('1');
          assert.deepEqual([loaded.state.total, revisionOf(loaded)], [21, 5]);
          assert.equal((await fresh.load('1', { revision: 1 })).state.total, 3);
          await store.deleteSnapshot('purse-1');
          assert.equal((await fresh.load('1')).state.total, 21);
        }
        await failure(StreamArchivedError, 'STREAM_ARCHIVED', () =>
          purses.update('1', (one) => one.execute(7)),
        );
        await store.reopenStream('purse-1');
        const { revision } = await purses.update('1', (one) => one.execute(7));
        assert.equal(revision, 6);
        assert.equal((await purses.load('1')).state.total, 28);
      });
    }

    itCan(
      'keep imports out of archived streams, and ids taken',
      async () => {
        const { store, order } = await filled();
        const item = { stream: 'order-2', type: 'Imported', data: {} };
        let closed = false;
        const error = await failure(ImportItemError, 'IMPORT_ITEM', () =>
          store.import('legacy', () => Array.from({ length: 10 }, () => item), {
            batchSize: 4,
            onProgress: async () => {
              if (!closed) await store.archiveStream('order-2');
              closed = true;
            },
          }),
        );
        assert.include(error, { item: 5, stream: 'order-2' });
        assert.instanceOf(error.cause, StreamArchivedError);
        await store.truncateStream('order-1', { before: 2 });
        const known = { ...item, stream: 'order-3', id: order[1] };
        const taken = await failure(ImportItemError, 'IMPORT_ITEM', () =>
          store.import('other', () => [{ ...item, stream: 'order-1' }, known]),
        );
        assert.include(taken, { item: 2 });
        assert.instanceOf(taken.cause, DuplicateEventError);
        assert.equal((await store.readStream('order-1').toArray()).at(-1)?.revision, 6);
      },
      ['imports'],
    );

    itCan('refuse arguments that are none', async () => {
      const store = await stores.open();
      for (const call of [
        () => store.truncateStream('', { before: 1 }),
        () => store.truncateStream('order-1', { before: -1 }),
        () => store.truncateStream('order-1', { before: 0.5 }),
        () => store.archiveStream('\u0000'),
        () => store.reopenStream(''),
      ]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', call);
      }
    });

    itCan('are refused by a store that is closed', async () => {
      const store = await stores.open();
      await store.close();
      for (const call of [
        () => store.truncateStream('order-1', { before: 1 }),
        () => store.archiveStream('order-1'),
        () => store.reopenStream('order-1'),
      ]) {
        await failure(StoreClosedError, 'STORE_CLOSED', call);
      }
    });
  });
}
