import {
  InvalidArgumentError,
  NestedTransactionError,
  RevisionConflictError,
  DuplicateEventError,
  TransactionEndedError,
  type Lease,
  type Generation,
  type InlineHook,
  type LogUnit,
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
} from './expectations.js';
import { itNeeds, useStores, type Capability, type StoreHarness } from './harness.js';
import { acquired, COUNTERS, createCounting, partitionOf, visible } from './read-models.js';

/** Appends that are part of a transaction of the same store. */
export function describeAppendInTransaction(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>, also: readonly Capability[] = []): void =>
    itNeeds(harness, ['transactions', ...also], title, body);

  describe('an append inside a transaction', () => {
    const stores = useStores(harness);

    itCan('commits with the checkpoint and the documents of the transaction', async () => {
      const store = await stores.open();
      const { generation, lease } = await counting(store);
      const events = newEvents(2);
      const result = await store.transaction(async (unit) => {
        await unit.advance(lease, 0, 7);
        await unit.documents(COUNTERS, generation.generation).putMany(new Map([['a', 1]]));
        return store.append('order-1', events, { transaction: unit, expected: 'no-stream' });
      });
      assert.deepEqual(await logIds(store), idsIn(events));
      assert.equal(result.revision, 1);
      assert.equal(result.position, await store.head());
      assert.equal((await partitionOf(store, generation)).position, 7);
      assert.deepEqual(await visible(store), [['a', 1]]);
    });

    itCan('is undone with everything else when the transaction fails', async () => {
      const store = await stores.open();
      const { generation, lease } = await counting(store);
      await store.append('order-1', [newEvent()]);
      const before = await logOf(store);
      const event = newEvent();
      const crash = new Error('crash');
      const ended = await outcome(() =>
        store.transaction(async (unit) => {
          await store.append('order-1', [event], { transaction: unit, expected: 0 });
          await unit.advance(lease, 0, 7);
          throw crash;
        }),
      );
      assert.equal(ended, crash);
      assert.deepEqual(await logOf(store), before);
      assert.equal((await partitionOf(store, generation)).position, 0);
      assert.equal((await store.append('order-1', [event], { expected: 0 })).revision, 1);
    });

    itCan('is seen by its own transaction, and by nobody else before the commit', async () => {
      const store = await stores.open();
      const first = newEvent();
      await store.append('order-1', [first]);
      const head = await store.head();
      const events = newEvents(3);
      const [appended, release] = [gate(), gate()];
      const transaction = store.transaction(async (unit) => {
        await store.append('order-1', events, { transaction: unit, expected: 0 });
        assert.deepEqual(await idsOf(unit.readAll()), idsIn([first, ...events]));
        assert.deepEqual(await idsOf(unit.readStream('order-1', { from: 1 })), idsIn(events));
        const backward = unit.readStream('order-1', { direction: 'backward', limit: 2 });
        assert.deepEqual(await idsOf(backward), idsIn(events.slice(1).toReversed()));
        appended.open();
        await release.opened;
      });
      await appended.opened;
      assert.deepEqual(await logIds(store), [first.id]);
      assert.lengthOf(await store.readStream('order-1').toArray(), 1);
      assert.equal(await store.head(), head);
      const waiting = store.changes(head);
      release.open();
      await transaction;
      assert.equal(await waiting, await store.head());
      assert.lengthOf(await logOf(store), 4);
    });

    itCan(
      'wakes those who wait on another instance, when it commits',
      async () => {
        const store = await stores.open();
        const other = await stores.another(store);
        const waiting = other.changes(0);
        await store.transaction((unit) => store.append('order-1', [newEvent()], { transaction: unit }));
        assert.equal(await waiting, await store.head());
      },
      ['instances'],
    );

    itCan('that conflicts fails alone: the transaction keeps what it did before and goes on', async () => {
      const store = await stores.open();
      const { generation } = await counting(store);
      await store.append('order-1', newEvents(2));
      const [before, after] = [newEvent(), newEvent()];
      await store.transaction(async (unit) => {
        const documents = unit.documents(COUNTERS, generation.generation);
        await documents.putMany(new Map([['before', 1]]));
        await store.append('order-2', [before], { transaction: unit });
        const conflict = await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
          store.append('order-1', newEvents(3), { transaction: unit, expected: 0 }),
        );
        assert.include(conflict, { stream: 'order-1', expected: 0, actual: 1 });
        await documents.putMany(new Map([['after', 1]]));
        const result = await store.append('order-1', [after], { transaction: unit, expected: 1 });
        assert.equal(result.revision, 2);
      });
      assert.deepEqual((await logIds(store)).slice(2), [before.id, after.id]);
      assert.deepEqual(await visible(store), [
        ['after', 1],
        ['before', 1],
      ]);
      assertWholeLog(await logOf(store));
    });

    itCan('is idempotent by event id, with what is committed and with its own transaction', async () => {
      const store = await stores.open();
      const [committed, own] = [newEvents(2), newEvents(2)];
      const first = await store.append('order-1', committed);
      await store.transaction(async (transaction) => {
        const append = (stream: string, events: typeof own): ReturnType<Store['append']> =>
          store.append(stream, events, { transaction, expected: stream === 'order-2' ? 'no-stream' : 'any' });
        assert.deepEqual(await append('order-1', committed), first);
        const result = await append('order-2', own);
        assert.deepEqual(await append('order-2', own), result);
        for (const known of [committed, own]) {
          await failure(DuplicateEventError, 'DUPLICATE_EVENT', () => append('order-3', known));
        }
      });
      assert.deepEqual(await logIds(store), idsIn([...committed, ...own]));
    });

    itCan('takes its turn among others asked for at once, and among appends outside', async () => {
      const store = await stores.open();
      const outside = Array.from({ length: 5 }, () => store.append('order-1', newEvents(2)));
      await store.transaction(async (transaction) => {
        const inside = Array.from({ length: 8 }, (_, index) =>
          outcome(() =>
            store.append('order-2', newEvents(1 + (index % 3)), {
              transaction,
              expected: index % 2 === 0 ? 'any' : 99,
            }),
          ),
        );
        const errors = (await Promise.all(inside)).filter((error) => error !== undefined);
        assert.lengthOf(errors, 4);
        for (const error of errors) assert.instanceOf(error, RevisionConflictError);
      });
      await Promise.all(outside);
      const log = await logOf(store);
      assertWholeLog(log);
      assert.lengthOf(log, 10 + 1 + 3 + 2 + 1);
    });

    itCan(
      'that nobody awaited is part of the commit, once it has begun',
      async () => {
        const store = await stores.open();
        const { generation } = await counting(store);
        const events = newEvents(2);
        const [begun, release] = [gate(), gate()];
        const appends: Promise<unknown>[] = [];
        const transaction = store.transaction(async (unit) => {
          const inline: InlineHook = async (_, hook) => {
            begun.open();
            await release.opened;
            await hook.documents(COUNTERS, generation.generation).putMany(new Map([['hook', 1]]));
          };
          appends.push(store.append('order-1', events, { transaction: unit, inline }));
          await begun.opened;
        });
        await begun.opened;
        await turns(5);
        assert.deepEqual(await logIds(store), [], 'the commit waits for it');
        release.open();
        await transaction;
        await Promise.all(appends);
        assert.deepEqual(await logIds(store), idsIn(events));
        assert.deepEqual(await visible(store), [['hook', 1]]);
      },
      ['inline'],
    );

    itCan(
      'with a hook that takes long is undone alone, whatever else was asked for meanwhile',
      async () => {
        const store = await stores.open();
        const { generation } = await counting(store);
        const hooked = async (transaction: StateUnit, index: number): Promise<unknown> =>
          outcome(() =>
            store.append(`order-${index % 3}`, newEvents(1, { data: index }), {
              transaction,
              inline: async (_, unit) => {
                await turns(3);
                const documents = unit.documents(COUNTERS, generation.generation);
                await documents.putMany(new Map([[`k${index}`, index]]));
                if (index % 2 === 1) throw new Error('undone');
              },
            }),
          );
        await store.transaction(async (unit) => {
          const ended = await Promise.all(Array.from({ length: 6 }, (_, index) => hooked(unit, index)));
          assert.deepEqual(
            ended.map((error) => error === undefined),
            [true, false, true, false, true, false],
          );
        });
        const log = await logOf(store);
        assertWholeLog(log);
        assert.deepEqual(
          log.map(({ data }) => data),
          [0, 2, 4],
        );
        assert.deepEqual(
          (await visible(store)).map(([key]) => key),
          ['k0', 'k2', 'k4'],
        );
      },
      ['inline'],
    );

    itCan('of no events says where the stream is', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(2));
      await store.transaction(async (transaction) => {
        const { position } = await store.append('order-1', newEvents(3), { transaction });
        const result = await store.append('order-1', [], { transaction, expected: 77 });
        assert.deepEqual(result, { stream: 'order-1', revision: 4, position });
      });
    });

    itCan(
      'may be to several streams, all or none',
      async () => {
        const store = await stores.open();
        await store.append('order-1', [newEvent()]);
        await store.transaction(async (transaction) => {
          const to = (expected: number): Promise<unknown> =>
            store.appendAll(
              [
                { stream: 'order-2', events: newEvents(2) },
                { stream: 'order-1', events: newEvents(2), expected },
              ],
              { transaction },
            );
          await failure(RevisionConflictError, 'REVISION_CONFLICT', () => to(7));
          await to(0);
        });
        const log = await logOf(store);
        assert.deepEqual(
          log.map(({ stream }) => stream),
          ['order-1', 'order-2', 'order-2', 'order-1', 'order-1'],
        );
        assertWholeLog(log);
      },
      ['multiStreamAppend'],
    );

    itCan(
      'runs its inline hook in the transaction; a hook that fails undoes the append and nothing else',
      async () => {
        const store = await stores.open();
        const { generation } = await counting(store);
        const crash = new Error('crash');
        const kept = newEvents(2);
        await store.transaction(async (transaction) => {
          const put = async (unit: StateUnit, key: string): Promise<void> =>
            unit.documents(COUNTERS, generation.generation).putMany(new Map([[key, 1]]));
          await put(transaction, 'before');
          const failed = await outcome(() =>
            store.append('order-1', newEvents(2), {
              transaction,
              inline: async (_, unit) => {
                await put(unit, 'undone');
                throw crash;
              },
            }),
          );
          assert.equal(failed, crash);
          await store.append('order-1', kept, {
            transaction,
            expected: 'no-stream',
            inline: async (events, unit) => {
              assert.deepEqual(idsIn(events), idsIn(kept));
              assert.deepEqual(await idsOf(unit.readAll()), idsIn(kept));
              assert.deepEqual(
                [...(await unit.documents(COUNTERS, generation.generation).getMany(['before']))],
                [['before', 1]],
              );
              await put(unit, 'hook');
              for (const nested of [{}, { transaction }, { transaction: unit }]) {
                assert.include(
                  ['NESTED_TRANSACTION', 'INVALID_ARGUMENT'],
                  Reflect.get(
                    Object(await outcome(() => store.append('order-9', [newEvent()], nested))),
                    'code',
                  ),
                );
              }
            },
          });
        });
        assert.deepEqual(await logIds(store), idsIn(kept));
        assert.deepEqual(await visible(store), [
          ['before', 1],
          ['hook', 1],
        ]);
      },
      ['inline'],
    );

    itCan('without the transaction is refused', async () => {
      const store = await stores.open();
      await store.transaction(async () => {
        await failure(NestedTransactionError, 'NESTED_TRANSACTION', () =>
          store.append('order-1', [newEvent()]),
        );
        await failure(NestedTransactionError, 'NESTED_TRANSACTION', () => store.import('legacy', () => []));
      });
    });

    itCan('of another store is refused', async () => {
      const [store, other] = [await stores.open(), await stores.open()];
      await other.transaction(async (transaction) => {
        for (const events of [[newEvent()], []]) {
          const error = await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
            store.append('order-1', events, { transaction }),
          );
          assert.equal(error.argument, 'transaction');
        }
      });
      assert.lengthOf([...(await logOf(store)), ...(await logOf(other))], 0);
    });

    for (const how of ['committed', 'failed'] as const) {
      itCan(`that has ${how} is refused`, async () => {
        const store = await stores.open();
        const kept: (StateUnit & LogUnit)[] = [];
        await outcome(() =>
          store.transaction(async (unit) => {
            kept.push(unit);
            if (how === 'failed') throw new Error('failed');
          }),
        );
        await failure(TransactionEndedError, 'TRANSACTION_ENDED', () =>
          store.append('order-1', [newEvent()], { transaction: kept[0] }),
        );
        await failure(TransactionEndedError, 'TRANSACTION_ENDED', () =>
          kept[0]?.readStream('order-1').toArray(),
        );
        assert.lengthOf(await logOf(store), 0);
      });
    }

    itCan('goes through when the store is closed while it runs', async () => {
      const store = await stores.open();
      const [started, release] = [gate(), gate()];
      const transaction = store.transaction(async (unit) => {
        started.open();
        await release.opened;
        return store.append('order-1', [newEvent()], { transaction: unit });
      });
      await started.opened;
      const closing = store.close();
      release.open();
      assert.equal((await transaction).revision, 0);
      await closing;
    });
  });

  describe('a snapshot inside a transaction', () => {
    const stores = useStores(harness);

    itCan('is seen by it alone, and is committed with it or not at all', async () => {
      const store = await stores.open();
      const snapshot = (revision: number) => ({
        stream: 'order-1',
        revision,
        version: 1,
        state: { revision },
      });
      await store.saveSnapshot(snapshot(1));
      await outcome(() =>
        store.transaction(async (unit) => {
          assert.deepEqual(await unit.loadSnapshot('order-1'), snapshot(1));
          await unit.saveSnapshot(snapshot(2));
          assert.deepEqual(await unit.loadSnapshot('order-1'), snapshot(2));
          assert.deepEqual(await store.loadSnapshot('order-1'), snapshot(1));
          throw new Error('undone');
        }),
      );
      assert.deepEqual(await store.loadSnapshot('order-1'), snapshot(1));
      await store.transaction((unit) => unit.saveSnapshot(snapshot(3)));
      assert.deepEqual(await store.loadSnapshot('order-1'), snapshot(3));
      assert.isUndefined(await store.transaction((unit) => unit.loadSnapshot('order-2')));
    });
  });
}

async function counting(store: Store): Promise<{ readonly generation: Generation; readonly lease: Lease }> {
  const generation = await createCounting(store);
  return { generation, lease: await acquired(store, generation) };
}

function idsIn(events: readonly { readonly id: string }[]): string[] {
  return events.map(({ id }) => id);
}

/** Lets the event loop turn so many times. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}
