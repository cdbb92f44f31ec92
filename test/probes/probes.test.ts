import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { RevisionConflictError, type AppendResult, type RecordedEvent, type Store } from '@refold/core';
import { expect } from 'chai';
import { stopTestDatabase } from '../postgres/server.js';
import { consumer, count, Numbered, type Consumer } from './consumer.js';
import { storeKinds, type Place } from './places.js';

after(stopTestDatabase);

// What event stores have got wrong, each tried on every store of Refold.
for (const { name, place: newPlace } of storeKinds) {
  describe(`probes on ${name}`, () => {
    let place: Place;
    const running: Consumer[] = [];
    const numbered = (n: number): { id: string; type: string; data: unknown } => ({
      id: randomUUID(),
      type: 'Numbered',
      data: { n },
    });

    beforeEach(async () => {
      place = await newPlace();
    });
    afterEach(async () => {
      await Promise.all(running.splice(0).map((one) => one.stop()));
      await place.end();
    });

    const following = async (options?: Parameters<typeof consumer>[1]): Promise<Consumer> => {
      const one = consumer(await place.open(), options);
      running.push(one);
      return one;
    };

    it('no event is lost, repeated or out of order for consumers while 10 writers append 5,000', async function () {
      this.timeout(60_000);
      const projected = await following();
      const reader = await place.open();
      const ended = new AbortController();
      const tail = readOn(reader, 5000, ended.signal);
      const stores = [await place.open(), await place.open()];
      await Promise.all(
        count(0, 10).map(async (writer) => {
          const store = one(stores, writer);
          for (let n = 0; n < 500; n++) await store.append(`writer-${writer}`, [numbered(n)]);
        }),
      );
      const read = await tail;
      expect(read.map(({ position }) => position)).to.deep.equal(count(1, 5000));
      await projected.waitFor(5000);
      expect(projected.handled).to.deep.equal(count(1, 5000));
      for (const writer of count(0, 10)) {
        const own = read.filter(({ stream }) => stream === `writer-${writer}`);
        expect(own.map(({ revision }) => revision)).to.deep.equal(count(0, 500));
        expect(await projected.numbers(String(writer))).to.deep.equal(count(0, 500));
      }
    });

    it("'no-stream' is refused on a stream that exists, and 'stream-exists' on one that does not", async () => {
      const store = await place.open();
      await store.append('order-1', [numbered(1)], { expected: 'no-stream' });
      for (const [stream, expected] of [
        ['order-1', 'no-stream'],
        ['order-2', 'stream-exists'],
      ] as const) {
        const error = await store.append(stream, [numbered(2)], { expected }).catch((e: unknown) => e);
        expect(error).to.be.instanceOf(RevisionConflictError);
      }
      expect(await store.head()).to.equal(1);
    });

    it('none of 20 appends to one stream at once conflicts if all expect nothing', async () => {
      const stores = [await place.open(), await place.open(), await place.open()];
      const results = await Promise.all(
        count(0, 20).map((n) => one(stores, n).append('order-1', [numbered(n)], { expected: 'any' })),
      );
      const revisions = results.map(({ revision }) => revision);
      expect(revisions.sort((a, b) => a - b)).to.deep.equal(count(0, 20));
    });

    it('none of 10 appends at once finds the store busy', async () => {
      const store = await place.open();
      await Promise.all(count(0, 10).map((n) => store.append(`order-${n}`, [numbered(n)])));
      expect(await store.head()).to.equal(10);
    });

    it('one of 10 racers wins in each of 50 rounds', async function () {
      this.timeout(60_000);
      const stores = [await place.open(), await place.open()];
      for (const round of count(0, 50)) {
        const expected = round === 0 ? 'no-stream' : round - 1;
        const outcomes = await Promise.allSettled(
          count(0, 10).map((n) => one(stores, n).append('race-1', [numbered(n)], { expected })),
        );
        const lost = outcomes.filter((one) => one.status === 'rejected').map((one): unknown => one.reason);
        expect(lost).to.have.length(9);
        for (const error of lost) expect(error).to.be.instanceOf(RevisionConflictError);
      }
      expect(await stores[0]?.head()).to.equal(50);
    });

    it('an append whose answer was lost, and which is made again by all, is there once and shadows no other', async () => {
      const stores = [await place.open(), await place.open()];
      const lost = [numbered(0), numbered(1)];
      const results = await Promise.all(
        count(0, 20).map((n): Promise<AppendResult> =>
          n % 2 === 0
            ? one(stores, n / 2).append('order-1', lost, { expected: 'no-stream' })
            : one(stores, n % 3).append(`order-${n + 2}`, [numbered(n)]),
        ),
      );
      const [first, ...again] = results.filter((_, n) => n % 2 === 0);
      expect(first).to.include({ stream: 'order-1', revision: 1 });
      for (const result of again) expect(result).to.deep.equal(first);
      expect(await stores[0]?.head()).to.equal(12);
    });

    it('two live instances process nothing twice after an idle period that outlasts their leases', async () => {
      const both = [await following({ leaseMs: 100 }), await following({ leaseMs: 100 })];
      const writer = await place.open();
      for (const n of count(0, 20)) await writer.append('order-1', [numbered(n)]);
      await both[0]?.waitFor(20);
      // Several leases long: the fault shows only after a pause.
      await sleep(400);
      for (const n of count(20, 20)) await writer.append('order-1', [numbered(n)]);
      await both[0]?.waitFor(40);
      // One whose lease ran out on a busy machine may have called its handler in vain; what counts is what was committed.
      expect(await both[1]?.numbers('1')).to.deep.equal(count(0, 40));
      expect(both.flatMap(({ handled }) => handled)).to.include.members(count(1, 40));
    });

    it('a projection that is added late sees all events, without waiting for another', async () => {
      const first = await following();
      for (const n of count(0, 30)) await first.app.append('order-1', [Numbered(n)]);
      await first.waitFor(30);
      const late = await following({ name: 'late' });
      await late.waitFor(30);
      expect(late.handled).to.deep.equal(count(1, 30));
    });
  });
}

/** One of several stores, in turn. */
function one(stores: readonly Store[], n: number): Store {
  const store = stores[n % stores.length];
  if (!store) throw new Error('There is no store');
  return store;
}

/** Follows the log by `changes` and `readAll`, as a consumer of its own would, until it has so many events. */
async function readOn(store: Store, events: number, signal: AbortSignal): Promise<RecordedEvent[]> {
  const read: RecordedEvent[] = [];
  while (read.length < events) {
    const after = read.at(-1)?.position ?? 0;
    await store.changes(after, signal);
    read.push(...(await store.readAll({ after }).toArray()));
  }
  return read;
}
