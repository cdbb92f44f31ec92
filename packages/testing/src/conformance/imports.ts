import {
  DuplicateEventError,
  EventTooLargeError,
  ImportConflictError,
  ImportItemError,
  InvalidArgumentError,
  SerializationError,
  StoreClosedError,
  type EventStore,
  type ImportedEvent,
  type ImportProgress,
} from '@refold/core';
import { assert } from 'chai';
import { randomUUID } from 'node:crypto';
import { describe } from 'mocha';
import { assertWholeLog, failure, gate, logIds, logOf, newEvent, outcome } from './expectations.js';
import { itNeeds, useStores, type Capability, type StoreHarness } from './harness.js';

type Item = ImportedEvent & { readonly id: string };

/** So many items over some streams, with ids. */
function items(count: number, streams = 7): Item[] {
  return Array.from({ length: count }, (_, index) => ({
    id: randomUUID(),
    stream: `order-${index % streams}`,
    type: 'Imported',
    data: { index, text: 'a "quoted" \\ back\\slash\n and a tab\t' },
    metadata: index % 2 === 0 ? { user: 'ünï' } : undefined,
  }));
}

/** A source over an array, which tells from where it was asked. */
function sourceOf(all: readonly ImportedEvent[], asked: number[] = []) {
  return async function* (after: number): AsyncGenerator<ImportedEvent> {
    asked.push(after);
    yield* all.slice(after);
  };
}

/** First loads: ordered, resumable, each item once. */
export function describeImports(harness: StoreHarness<EventStore>): void {
  const itCan = (title: string, body: () => Promise<void>, also: readonly Capability[] = []): void =>
    itNeeds(harness, ['imports', ...also], title, body);

  describe('import', () => {
    const stores = useStores(harness);

    itCan('writes the items in their order, each behind what its stream has', async () => {
      const store = await stores.open();
      await store.append('order-1', [newEvent(), newEvent()]);
      const head = await store.head();
      const all = items(50);
      const result = await store.import('legacy', sourceOf(all), { batchSize: 8 });
      const log = await logOf(store);
      assertWholeLog(log);
      const imported = log.slice(2);
      assert.deepEqual(
        imported.map(({ id, stream, type, data, metadata, version }) => [
          id,
          stream,
          type,
          data,
          metadata,
          version,
        ]),
        all.map(({ id, stream, type, data, metadata }) => [id, stream, type, data, metadata ?? {}, 1]),
      );
      assert.equal(imported.find(({ stream }) => stream === 'order-1')?.revision, 2);
      assert.isAbove(imported[0]?.position ?? 0, head);
      assert.deepEqual(result, { imported: 50, position: await store.head() });
      const { revision } = await store.append('order-0', [newEvent()], { expected: 7 });
      assert.equal(revision, 8);
    });

    itCan('tells its progress after every chunk, and wakes those who wait', async () => {
      const store = await stores.open();
      const waiting = store.changes(0);
      const told: number[] = [];
      await store.import('legacy', sourceOf(items(25)), {
        batchSize: 10,
        onProgress: async ({ imported, position }: ImportProgress) => {
          told.push(imported);
          assert.equal(await store.head(), position);
        },
      });
      assert.deepEqual(told, [10, 20, 25]);
      assert.isAtLeast(await waiting, 10);
    });

    itCan('takes sources that are arrays or generators, and gives events ids of their own', async () => {
      const store = await stores.open();
      const all = items(9).map(({ id: _, ...rest }) => rest);
      await store.import('sync', (after) => all.slice(after), { batchSize: 4 });
      const ids = await logIds(store);
      assert.equal(new Set(ids).size, 9);
    });

    itCan('imports nothing twice: the same call goes on behind what is in', async () => {
      const store = await stores.open();
      const all = items(30);
      const asked: number[] = [];
      await store.import('legacy', sourceOf(all.slice(0, 17), asked), { batchSize: 5 });
      await store.import('legacy', sourceOf(all, asked), { batchSize: 5 });
      const again = await store.import('legacy', sourceOf(all, asked));
      assert.deepEqual(again, { imported: 30, position: await store.head() });
      assert.deepEqual(asked, [0, 17, 30]);
      assert.deepEqual(
        await logIds(store),
        all.map(({ id }) => id),
      );
    });

    itCan('counts for each name by itself', async () => {
      const store = await stores.open();
      const [one, two] = [items(3), items(4)];
      await store.import('one', sourceOf(one));
      assert.equal((await store.import('two', sourceOf(two))).imported, 4);
      assert.lengthOf(await logOf(store), 7);
    });

    itCan('goes on after its source has failed, and its error reaches the caller as it is', async () => {
      const store = await stores.open();
      const all = items(20);
      const crash = new Error('crash');
      const ended = await outcome(() =>
        store.import(
          'legacy',
          async function* (after) {
            yield* all.slice(after, 13);
            throw crash;
          },
          { batchSize: 5 },
        ),
      );
      assert.equal(ended, crash);
      assert.lengthOf(await logOf(store), 13);
      await store.import('legacy', sourceOf(all));
      assert.deepEqual(
        await logIds(store),
        all.map(({ id }) => id),
      );
    });

    itCan('ends with the reason of its signal, lets its source clean up, and goes on later', async () => {
      const store = await stores.open();
      const all = items(20);
      const controller = new AbortController();
      const reason = new Error('enough');
      let cleaned = false;
      const ended = await outcome(() =>
        store.import(
          'legacy',
          async function* (after) {
            try {
              for (const [index, item] of all.slice(after).entries()) {
                if (index === 12) controller.abort(reason);
                yield item;
              }
            } finally {
              cleaned = true;
            }
          },
          { batchSize: 5, signal: controller.signal },
        ),
      );
      assert.equal(ended, reason);
      assert.isTrue(cleaned);
      assert.lengthOf(await logOf(store), 10);
      await store.import('legacy', sourceOf(all));
      assert.deepEqual(
        await logIds(store),
        all.map(({ id }) => id),
      );
    });

    itCan('whose progress callback throws ends with that, and what is committed stays', async () => {
      const store = await stores.open();
      const crash = new Error('crash');
      const onProgress = ({ imported }: ImportProgress): void => {
        if (imported === 10) throw crash;
      };
      const ended = await outcome(() =>
        store.import('legacy', sourceOf(items(50)), { batchSize: 5, onProgress }),
      );
      assert.equal(ended, crash);
      assert.lengthOf(await logOf(store), 10);
    });

    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    const bad: Readonly<Record<string, { item: object; cause: new (...args: never[]) => Error }>> = {
      'a stream without a name': { item: { stream: '' }, cause: InvalidArgumentError },
      'no stream': { item: { stream: undefined }, cause: InvalidArgumentError },
      'a control character in its stream': { item: { stream: 'order-\u0000' }, cause: InvalidArgumentError },
      'a type without a name': { item: { type: '' }, cause: InvalidArgumentError },
      'an id that is none': { item: { id: 'x' }, cause: InvalidArgumentError },
      'a bad version': { item: { version: 0 }, cause: InvalidArgumentError },
      'data that is no JSON': { item: { data: cycle }, cause: SerializationError },
      'no data': { item: { data: undefined }, cause: SerializationError },
      'metadata that is no object': { item: { metadata: 'x' }, cause: InvalidArgumentError },
      'too much data': { item: { data: 'x'.repeat(2000) }, cause: EventTooLargeError },
      'an invalid time': { item: { recordedAt: new Date(Number.NaN) }, cause: InvalidArgumentError },
      'a time that is no date': { item: { recordedAt: 5 }, cause: InvalidArgumentError },
      'a time in the future': { item: { recordedAt: new Date(8e14) }, cause: InvalidArgumentError },
    };
    for (const [problem, { item, cause }] of Object.entries(bad)) {
      itCan(`names the item that has ${problem}; what comes before it is in`, async () => {
        const store = await stores.open({ maxEventBytes: 1000 });
        const all = items(20);
        const broken = all.map((one, index) => (index === 12 ? { ...one, ...item } : one));
        const error = await failure(ImportItemError, 'IMPORT_ITEM', () =>
          store.import('legacy', sourceOf(broken), { batchSize: 5 }),
        );
        assert.include(error, { importName: 'legacy', item: 13 });
        assert.isTrue(error.cause instanceof cause, String(error.cause));
        assert.include(error.message, '13');
        assert.lengthOf(await logOf(store), 12);
        await store.import('legacy', sourceOf(all));
        assert.deepEqual(
          await logIds(store),
          all.map(({ id }) => id),
        );
      });
    }

    for (const place of ['in the log', 'in the same chunk', 'in an earlier chunk'] as const) {
      itCan(`names the item whose id is known, ${place}`, async () => {
        const store = await stores.open();
        const known = newEvent();
        await store.append('order-3', [known]);
        const all = items(20);
        const id = { 'in the log': known, 'in the same chunk': all[10], 'in an earlier chunk': all[1] }[place]
          ?.id;
        const broken = all.map((one, index) => (index === 12 ? { ...one, id: id?.toUpperCase() } : one));
        const error = await failure(ImportItemError, 'IMPORT_ITEM', () =>
          store.import('legacy', sourceOf(broken), { batchSize: 5 }),
        );
        assert.include(error, { item: 13, stream: all[12]?.stream });
        assert.instanceOf(error.cause, DuplicateEventError);
        assert.lengthOf(await logOf(store), 13);
        await store.import('legacy', sourceOf(all), { batchSize: 3 });
        assert.lengthOf(await logOf(store), 21);
      });
    }

    itCan('keeps the times that its items have, which appends then go on from', async () => {
      const store = await stores.open();
      const start = Date.UTC(2020, 0, 1);
      const all = items(20).map((item, index) => ({
        ...item,
        recordedAt: new Date(start + (index >> 1) * 1500),
      }));
      await store.import('legacy', sourceOf(all), { batchSize: 6 });
      assert.deepEqual(
        (await logOf(store)).map(({ recordedAt }) => recordedAt),
        all.map(({ recordedAt }) => recordedAt),
      );
      await store.append('order-1', [newEvent()]);
      assert.isAbove((await logOf(store)).at(-1)?.recordedAt.getTime() ?? 0, start + 30_000);
    });

    for (const place of ['within a chunk', 'between chunks', 'behind an append'] as const) {
      itCan(`refuses times that go backward ${place}`, async () => {
        const store = await stores.open();
        if (place === 'behind an append') await store.append('order-1', [newEvent()]);
        const bad = { 'within a chunk': 13, 'between chunks': 15, 'behind an append': 0 }[place];
        const start = Date.UTC(2020, 0, 1);
        const all = items(20).map((item, index) => ({
          ...item,
          recordedAt: new Date(start + (index === bad ? -1 : index)),
        }));
        const before = (await logOf(store)).length;
        const error = await failure(ImportItemError, 'IMPORT_ITEM', () =>
          store.import('legacy', sourceOf(all), { batchSize: 5 }),
        );
        assert.include(error, { item: bad + 1 });
        assert.instanceOf(error.cause, InvalidArgumentError);
        assert.lengthOf(await logOf(store), before + bad);
      });
    }

    itCan('lets others append to the same streams between its chunks', async () => {
      const store = await stores.open();
      const all = items(60, 3);
      const appended: string[] = [];
      await store.import('legacy', sourceOf(all), {
        batchSize: 7,
        onProgress: async () => {
          const event = newEvent();
          appended.push(event.id);
          await store.append('order-1', [event]);
        },
      });
      const log = await logOf(store);
      assertWholeLog(log);
      const ids = log.map(({ id }) => id);
      assert.sameMembers(ids, [...all.map(({ id }) => id), ...appended]);
      const imported = new Set(all.map(({ id }) => id));
      assert.deepEqual(
        ids.filter((id) => imported.has(id)),
        all.map(({ id }) => id),
      );
    });

    itCan('goes along with appends of many callers', async () => {
      const store = await stores.open();
      const all = items(200, 3);
      const importing = store.import('legacy', sourceOf(all), { batchSize: 9 });
      const appends = Array.from({ length: 40 }, (_, index) =>
        store.append(`order-${index % 3}`, [newEvent()]),
      );
      await Promise.all([importing, ...appends]);
      assertWholeLog(await logOf(store));
      assert.lengthOf(await logOf(store), 240);
    });

    itCan(
      'of one name on two instances at once: one fails and says so, nothing is there twice',
      async () => {
        const store = await stores.open();
        const other = await stores.another(store);
        const all = items(60);
        const started = gate();
        let waiting = 0;
        const source = async function* (after: number): AsyncGenerator<ImportedEvent> {
          if (after === 0 && ++waiting === 2) started.open();
          if (after === 0) await started.opened;
          yield* all.slice(after);
        };
        const importing = [store, other].map((one) => one.import('legacy', source, { batchSize: 20 }));
        const ended = await Promise.allSettled(importing);
        const failed = ended.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
        assert.isNotEmpty(failed);
        for (const error of failed) assert.instanceOf(error, ImportConflictError);
        await store.import('legacy', source);
        assert.deepEqual(
          await logIds(store),
          all.map(({ id }) => id),
        );
      },
      ['instances'],
    );

    itCan(
      'goes on in another instance where the first was closed',
      async () => {
        const store = await stores.open();
        const all = items(30);
        const ended = await outcome(() =>
          store.import('legacy', sourceOf(all), {
            batchSize: 10,
            onProgress: async ({ imported }) => {
              if (imported === 20) await store.close();
            },
          }),
        );
        assert.instanceOf(ended, StoreClosedError);
        const again = await stores.another(store);
        assert.lengthOf(await logOf(again), 20);
        await again.import('legacy', sourceOf(all));
        assert.deepEqual(
          await logIds(again),
          all.map(({ id }) => id),
        );
      },
      ['instances'],
    );

    itCan('refuses names and batch sizes that are none', async () => {
      const store = await stores.open();
      const source = sourceOf(items(1));
      for (const call of [
        () => store.import('', source),
        () => store.import('x'.repeat(201), source),
        () => store.import('\u0000', source),
        () => store.import('legacy', source, { batchSize: 0 }),
        () => store.import('legacy', source, { batchSize: 1.5 }),
      ]) {
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', call);
      }
    });

    itCan('of an empty source does nothing', async () => {
      const store = await stores.open();
      assert.deepEqual(await store.import('legacy', sourceOf([])), { imported: 0, position: 0 });
    });

    itCan('is refused by a store that is closed', async () => {
      const store = await stores.open();
      await store.close();
      await failure(StoreClosedError, 'STORE_CLOSED', () => store.import('legacy', sourceOf(items(1))));
    });
  });
}
