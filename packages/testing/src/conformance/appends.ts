import { RevisionConflictError, type EventStore } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { assertWholeLog, failure, logIds, logOf, newEvent, newEvents, settled } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';

/** Expected revisions, atomicity, races. */
export function describeAppends(harness: StoreHarness<EventStore>): void {
  describe('append', () => {
    const stores = useStores(harness);

    it('has the capabilities that its conformance test declares', async () => {
      const { supports } = await stores.open();
      const declared = (name: keyof typeof supports): boolean => harness.lacks?.[name] === undefined;
      assert.equal(supports.multiStreamAppend, declared('multiStreamAppend'));
      assert.equal(supports.inline, declared('inline'));
      assert.equal(supports.gaplessPositions, declared('gaplessPositions'));
    });

    it('returns the revision and position of the last event', async () => {
      const store = await stores.open();
      const first = await store.append('order-1', newEvents(3));
      const second = await store.append('order-1', newEvents(2));
      const other = await store.append('order-2', newEvents(1));
      assert.include(first, { stream: 'order-1', revision: 2 });
      assert.include(second, { stream: 'order-1', revision: 4 });
      assert.include(other, { stream: 'order-2', revision: 0 });
      const log = await logOf(store);
      assert.equal(log[2]?.position, first.position);
      assert.equal(log[4]?.position, second.position);
      assert.equal(log[5]?.position, other.position);
      assert.equal(await store.head(), other.position);
      assertWholeLog(log);
    });

    itNeeds(harness, 'gaplessPositions', 'counts positions from 1 without gaps', async () => {
      const store = await stores.open();
      await store.append('order-1', newEvents(2));
      await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
        store.append('order-1', newEvents(3), { expected: 7 }),
      );
      await store.append('order-2', newEvents(2));
      assert.deepEqual(
        (await logOf(store)).map(({ position }) => position),
        [1, 2, 3, 4],
      );
    });

    it("meets 'no-stream' only where there is none", async () => {
      const store = await stores.open();
      await store.append('order-1', [newEvent()], { expected: 'no-stream' });
      const error = await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
        store.append('order-1', [newEvent()], { expected: 'no-stream' }),
      );
      assert.include(error, { stream: 'order-1', expected: 'no-stream', actual: 0 });
      assert.lengthOf(await logOf(store), 1);
    });

    it("meets 'stream-exists' only where there is one", async () => {
      const store = await stores.open();
      const error = await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
        store.append('order-1', [newEvent()], { expected: 'stream-exists' }),
      );
      assert.include(error, { stream: 'order-1', expected: 'stream-exists', actual: -1 });
      await store.append('order-1', [newEvent()]);
      await store.append('order-1', [newEvent()], { expected: 'stream-exists' });
      assert.lengthOf(await logOf(store), 2);
    });

    it('meets a revision only where the stream is at it', async () => {
      const store = await stores.open();
      const none = await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
        store.append('order-1', [newEvent()], { expected: 0 }),
      );
      assert.include(none, { stream: 'order-1', expected: 0, actual: -1 });
      await store.append('order-1', newEvents(3));
      for (const expected of [0, 1, 3, 4]) {
        const error = await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
          store.append('order-1', [newEvent()], { expected }),
        );
        assert.include(error, { stream: 'order-1', expected, actual: 2 });
      }
      await store.append('order-1', [newEvent()], { expected: 2 });
      assert.lengthOf(await logOf(store), 4);
    });

    it("meets 'any' and no expectation always", async () => {
      const store = await stores.open();
      for (const options of [undefined, { expected: 'any' as const }, {}]) {
        await store.append('order-1', [newEvent()], options);
      }
      assert.lengthOf(await logOf(store), 3);
    });

    it('does nothing for no events, whatever is expected', async () => {
      const store = await stores.open();
      assert.deepEqual(await store.append('order-1', [], { expected: 5 }), {
        stream: 'order-1',
        revision: -1,
        position: 0,
      });
      const { position } = await store.append('order-1', newEvents(2));
      assert.deepEqual(await store.append('order-1', [], { expected: 'no-stream' }), {
        stream: 'order-1',
        revision: 1,
        position,
      });
      assert.deepEqual(await store.appendAll([]), []);
      assert.equal(await store.head(), position);
    });

    it('lets one of 20 racers for each revision win', async () => {
      const store = await stores.open();
      await raceForRevisions([store]);
    });

    itNeeds(harness, 'instances', 'lets one of 20 racers on three instances win each revision', async () => {
      const first = await stores.open();
      await raceForRevisions([first, await stores.another(first), await stores.another(first)]);
    });

    it("lets none of 20 concurrent appends with 'any' conflict", async () => {
      const store = await stores.open();
      await raceWithAny([store]);
    });

    itNeeds(
      harness,
      'instances',
      "lets none of 20 concurrent appends with 'any' on three instances conflict",
      async () => {
        const first = await stores.open();
        await raceWithAny([first, await stores.another(first), await stores.another(first)]);
      },
    );

    it('fails a conflicting append alone among concurrent ones', async () => {
      const store = await stores.open();
      await store.append('order-0', [newEvent()]);
      const good = Array.from({ length: 10 }, (_, index) => newEvents(2, { data: index }));
      const { values, errors } = await settled([
        ...good.slice(0, 5).map((events, index) => store.append(`order-${index}`, events)),
        store.append('order-0', newEvents(3), { expected: 'no-stream' }),
        ...good.slice(5).map((events, index) => store.append(`order-${index}`, events)),
      ]);
      assert.lengthOf(values, 10);
      assert.lengthOf(errors, 1);
      assert.instanceOf(errors[0], RevisionConflictError);
      const log = await logOf(store);
      assertWholeLog(log);
      assert.sameMembers(
        log.slice(1).map(({ id }) => id),
        good.flat().map(({ id }) => id),
      );
    });

    it('keeps the events of an append together, at consecutive positions', async () => {
      const store = await stores.open();
      const groups = Array.from({ length: 12 }, (_, index) => newEvents(5, { data: index }));
      await Promise.all(groups.map((events, index) => store.append(`order-${index % 3}`, events)));
      const ids = await logIds(store);
      for (const group of groups) {
        const at = ids.indexOf(group[0]?.id ?? '');
        assert.deepEqual(
          ids.slice(at, at + 5),
          group.map(({ id }) => id),
        );
      }
    });

    itNeeds(harness, 'multiStreamAppend', 'appends to several streams in their order', async () => {
      const store = await stores.open();
      await store.append('order-2', [newEvent()]);
      const [one, two] = [newEvents(2), newEvents(1)];
      const results = await store.appendAll([
        { stream: 'order-1', events: one, expected: 'no-stream' },
        { stream: 'order-2', events: two, expected: 0 },
      ]);
      const log = (await logOf(store)).slice(1);
      assert.deepEqual(
        log.map(({ id }) => id),
        [...one, ...two].map(({ id }) => id),
      );
      assert.deepEqual(results, [
        { stream: 'order-1', revision: 1, position: log[1]?.position },
        { stream: 'order-2', revision: 1, position: log[2]?.position },
      ]);
    });

    itNeeds(harness, 'multiStreamAppend', 'appends to all of several streams or to none', async () => {
      const store = await stores.open();
      await store.append('order-2', newEvents(2));
      const before = await logIds(store);
      const error = await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
        store.appendAll([
          { stream: 'order-1', events: newEvents(2) },
          { stream: 'order-2', events: newEvents(2), expected: 0 },
          { stream: 'order-3', events: newEvents(2) },
        ]),
      );
      assert.include(error, { stream: 'order-2', expected: 0, actual: 1 });
      assert.deepEqual(await logIds(store), before);
      assert.deepEqual(await store.readStream('order-1').toArray(), []);
    });

    itNeeds(harness, 'multiStreamAppend', 'leaves out of several streams those without events', async () => {
      const store = await stores.open();
      const [nothing, written] = await store.appendAll([
        { stream: 'order-1', events: [], expected: 3 },
        { stream: 'order-2', events: newEvents(2) },
      ]);
      assert.include(nothing, { stream: 'order-1', revision: -1 });
      assert.include(written, { stream: 'order-2', revision: 1 });
    });
  });
}

async function raceForRevisions(instances: readonly EventStore[]): Promise<void> {
  for (let revision = -1; revision < 4; revision++) {
    const expected = revision < 0 ? 'no-stream' : revision;
    const racers = spread(instances, 20, (store) => store.append('order-1', [newEvent()], { expected }));
    const { values, errors } = await settled(racers);
    assert.lengthOf(values, 1);
    assert.equal(values[0]?.revision, revision + 1);
    for (const error of errors) {
      assert.instanceOf(error, RevisionConflictError);
      assert.include(error, { stream: 'order-1', expected, actual: revision + 1 });
    }
  }
  for (const store of instances) assertWholeLog(await logOf(store));
  assert.lengthOf(await logOf(instances[0] ?? assert.fail()), 5);
}

async function raceWithAny(instances: readonly EventStore[]): Promise<void> {
  const racers = spread(instances, 20, (store) => store.append('order-1', [newEvent()], { expected: 'any' }));
  const results = await Promise.all(racers);
  assert.sameMembers(
    results.map(({ revision }) => revision),
    Array.from({ length: 20 }, (_, index) => index),
  );
  for (const store of instances) assertWholeLog(await logOf(store));
}

function spread<Value>(
  instances: readonly EventStore[],
  count: number,
  call: (store: EventStore) => Promise<Value>,
): Promise<Value>[] {
  return Array.from({ length: count }, (_, index) =>
    call(instances[index % instances.length] ?? assert.fail('no instance')),
  );
}
