import {
  EventTooLargeError,
  InvalidArgumentError,
  SerializationError,
  StoreClosedError,
  type EventMetadata,
  type EventStore,
  type ExpectedRevision,
  type NewEvent,
} from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, logIds, newEvent, newEvents } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';

/** A call with one bad argument. */
type BadCall = readonly [title: string, call: (store: EventStore) => unknown, argument?: string];

const cycle: { self?: unknown } = {};
cycle.self = cycle;

const BAD_NAMES = [
  ['empty', ''],
  ['with NUL', 'order-\u0000'],
  ['with a newline', 'order-\n1'],
  ['with a delete character', 'order-\u007f'],
  ['with a lone surrogate', 'order-\ud800'],
  ['too long', 'x'.repeat(513)],
] as const;

const BAD_COUNTS = [-1, 1.5, NaN, 2 ** 53, -Infinity];

const BAD_CALLS: readonly BadCall[] = [
  ...BAD_NAMES.flatMap(([title, stream]): BadCall[] => [
    [`append to a stream name that is ${title}`, (store) => store.append(stream, [newEvent()]), 'stream'],
    [`append of nothing to a stream name that is ${title}`, (store) => store.append(stream, []), 'stream'],
    [`readStream of a name that is ${title}`, (store) => store.readStream(stream).toArray(), 'stream'],
    [
      `a type that is ${title}`,
      (store) => store.append('order-1', [newEvent({ type: stream })]),
      'event type',
    ],
  ]),
  ...[...BAD_COUNTS, Infinity].map((expected): BadCall => [
    `expected revision ${expected}`,
    (store) => store.append('order-1', [newEvent()], { expected }),
    'expected',
  ]),
  ...[0, -1, 1.5, NaN, 2 ** 53].map((version): BadCall => [
    `version ${version}`,
    (store) => store.append('order-1', [newEvent({ version })]),
  ]),
  ...['', 'x', '123e4567-e89b-12d3-a456', `${newEvent().id}0`].map((id): BadCall => [
    `event id "${id}"`,
    (store) => store.append('order-1', [{ ...newEvent(), id }]),
    'event id',
  ]),
  [
    'the same stream twice in one appendAll',
    (store) =>
      store.appendAll([
        { stream: 'order-1', events: [newEvent()] },
        { stream: 'order-1', events: [newEvent()] },
      ]),
    'appends',
  ],
  ...BAD_COUNTS.flatMap((count): BadCall[] => [
    [`readAll after ${count}`, (store) => store.readAll({ after: count }).toArray(), 'after'],
    [`readAll to ${count}`, (store) => store.readAll({ to: count }).toArray(), 'to'],
    [`readAll with limit ${count}`, (store) => store.readAll({ limit: count }).toArray(), 'limit'],
    [`readStream from ${count}`, (store) => store.readStream('order-1', { from: count }).toArray(), 'from'],
    [`readStream to ${count}`, (store) => store.readStream('order-1', { to: count }).toArray(), 'to'],
    [`changes after ${count}`, (store) => store.changes(count), 'after'],
  ]),
  ...[0, -1, 1.5, NaN].map((batchSize): BadCall => [
    `batchSize ${batchSize}`,
    (store) => store.readAll({ batchSize }).toArray(),
    'batchSize',
  ]),
  ['an empty type in a filter', (store) => store.readAll({ filter: { types: [''] } }).toArray()],
  ['an empty category in a filter', (store) => store.readAll({ filter: { categories: [''] } }).toArray()],
];

/** What no type checker lets through, but a program without one does. */
const UNTYPED_CALLS: readonly BadCall[] = [
  [
    'expected "anything"',
    (store) => append(store, { expected: JSON.parse('"anything"') as ExpectedRevision }),
  ],
  ['a stream that is no string', (store) => store.append(JSON.parse('{}') as string, [newEvent()])],
  ['events that are no array', (store) => store.append('order-1', JSON.parse('{"length": 1}') as NewEvent[])],
  ['metadata that is an array', (store) => append(store, { metadata: JSON.parse('[1]') as EventMetadata })],
  ['metadata that is text', (store) => append(store, { metadata: JSON.parse('"x"') as EventMetadata })],
  ['an id that is a number', (store) => append(store, { id: JSON.parse('1') as string })],
];

const UNSERIALIZABLE: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['a function', () => 1],
  ['a symbol', Symbol('x')],
  ['a BigInt', 1n],
  ['a BigInt inside', { deep: [{ big: 1n }] }],
  ['a cycle', cycle],
  [
    'a toJSON that throws',
    {
      toJSON: () => {
        throw new Error('no');
      },
    },
  ],
];

/** Everything that a store must refuse, and that it is none the worse for it. */
export function describeBadInput(harness: StoreHarness<EventStore>): void {
  describe('bad input', () => {
    const stores = useStores(harness);

    for (const [title, call, argument] of [...BAD_CALLS, ...UNTYPED_CALLS]) {
      it(`is refused and loses nothing: ${title}`, async () => {
        const store = await stores.open();
        await unharmed(store, async () => {
          const error = await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => call(store));
          if (argument !== undefined) assert.equal(error.argument, argument);
          else assert.isNotEmpty(error.argument);
        });
      });
    }

    for (const [title, value] of UNSERIALIZABLE) {
      it(`is refused and loses nothing: data that is ${title}`, async () => {
        const store = await stores.open();
        await unharmed(store, async () => {
          const error = await failure(SerializationError, 'SERIALIZATION', () =>
            store.append('order-1', [newEvent(), newEvent({ type: 'Odd', data: value }), newEvent()]),
          );
          assert.include(error.subject, 'Odd');
        });
      });
    }

    it('is refused and loses nothing: metadata with a cycle', async () => {
      const store = await stores.open();
      await unharmed(store, () =>
        failure(SerializationError, 'SERIALIZATION', () => append(store, { metadata: { cycle } })),
      );
    });

    it('is refused and loses nothing: an event larger than the limit', async () => {
      const store = await stores.open({ maxEventBytes: 2000 });
      const fits = 'x'.repeat(1998);
      const quotes = 2;
      await unharmed(store, async () => {
        for (const [events, bytes] of [
          [[newEvent({ type: 'Big', data: `${fits}x` })], 2001],
          [[newEvent({ type: 'Big', data: 'ä'.repeat(1000) })], 2000 + quotes],
          [[newEvent(), newEvent({ type: 'Big', data: fits, metadata: { a: 1 } })], 2000 + '{"a":1}'.length],
        ] as const) {
          const error = await failure(EventTooLargeError, 'EVENT_TOO_LARGE', () =>
            store.append('order-1', events),
          );
          assert.include(error, { type: 'Big', bytes, limit: 2000 });
        }
      });
      await store.append('order-1', [newEvent({ data: fits })]);
      await store.append('order-1', newEvents(20, { data: fits }));
    });

    it('is refused and loses nothing: an event of more than a MiB, where no limit was chosen', async () => {
      const store = await stores.open();
      const data = 'x'.repeat(1024 * 1024 - 2);
      await unharmed(store, async () => {
        const error = await failure(EventTooLargeError, 'EVENT_TOO_LARGE', () =>
          append(store, { data: `${data}x` }),
        );
        assert.equal(error.limit, 1024 * 1024);
      });
      await append(store, { data });
    });

    it('fails alone among concurrent good appends', async () => {
      const store = await stores.open();
      const good = newEvents(6);
      const bad = failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => store.append('', [newEvent()]));
      const odd = failure(SerializationError, 'SERIALIZATION', () => append(store, { data: 1n }));
      await Promise.all([...good.map((event) => store.append('order-1', [event])), bad, odd]);
      assert.sameMembers(
        await logIds(store),
        good.map(({ id }) => id),
      );
    });
  });

  describe('a closed event store', () => {
    const stores = useStores(harness);

    const calls: Readonly<Record<string, (store: EventStore) => unknown>> = {
      append: (store) => store.append('order-1', [newEvent()]),
      'append of nothing': (store) => store.append('order-1', []),
      appendAll: (store) => store.appendAll([{ stream: 'order-1', events: [newEvent()] }]),
      readStream: (store) => store.readStream('order-1').toArray(),
      readAll: (store) => store.readAll().toArray(),
      head: (store) => store.head(),
      changes: (store) => store.changes(0),
    };
    for (const [name, call] of Object.entries(calls)) {
      it(`refuses ${name}`, async () => {
        const store = await stores.open();
        await store.append('order-1', [newEvent()]);
        await store.close();
        await failure(StoreClosedError, 'STORE_CLOSED', () => call(store));
      });
    }

    it('can be closed again', async () => {
      const store = await stores.open();
      await Promise.all([store.close(), store.close()]);
      await store.close();
      await store[Symbol.asyncDispose]();
    });

    it('stops the reads that were under way', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(10));
      const readers = [store.readAll({ batchSize: 2 }), store.readStream('order-1', { batchSize: 2 })];
      const batches = readers.map((reader) => reader.batches()[Symbol.asyncIterator]());
      for (const batch of batches) assert.isFalse((await batch.next()).done);
      await store.close();
      for (const batch of batches) await failure(StoreClosedError, 'STORE_CLOSED', () => batch.next());
    });

    it('answers every append that was under way when it closed', async () => {
      const store = await stores.open();
      const appends = newEvents(10).map((event) => store.append('order-1', [event]));
      const closing = store.close();
      const results = await Promise.all(appends);
      assert.deepEqual(
        results.map(({ revision }) => revision),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      );
      await closing;
    });
  });
}

function append(
  store: EventStore,
  { expected, ...event }: Partial<NewEvent> & { readonly expected?: ExpectedRevision },
): Promise<unknown> {
  return store.append('order-1', [{ ...newEvent(), ...event }], { expected });
}

/** That the store has lost nothing, and goes on working. */
async function unharmed(store: EventStore, refuse: () => Promise<unknown>): Promise<void> {
  const [before, after] = [newEvent(), newEvent()];
  await store.append('order-1', [before]);
  await refuse();
  await store.append('order-1', [after], { expected: 0 });
  assert.deepEqual(await logIds(store), [before.id, after.id]);
}
