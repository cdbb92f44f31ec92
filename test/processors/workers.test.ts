import { expect } from 'chai';
import {
  createApplication,
  silentLogger,
  StoreUnavailableError,
  type Application,
  type Store,
} from '@refold/core';
import { Account, balances, Deposited, documentsOf, expectedBalances, Fixture, stores } from './fixture.js';

for (const { name, open } of stores) {
  describe(`workers on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;
    let app: Application;
    const projection = balances();

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
      app = createApplication({
        store,
        aggregates: [Account],
        projections: [projection],
        logger: silentLogger,
      });
    });
    afterEach(() => fixture.end());

    function work(leaseMs: number, workerName: string): () => Promise<void> {
      const controller = new AbortController();
      const ended = app.worker({ leaseMs, name: workerName }).run({ signal: controller.signal });
      const stop = async (): Promise<void> => {
        controller.abort();
        await ended;
      };
      fixture.defer(stop);
      return stop;
    }

    async function until(condition: () => Promise<boolean>): Promise<void> {
      while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2));
    }

    it('one of two works at a time, and the second goes on when the first stops', async () => {
      const stopFirst = work(1000, 'first');
      await app.append('account-1', [new Deposited(1)]);
      await app.waitFor(projection, 1);
      const stopSecond = work(1000, 'second');
      for (let n = 0; n < 10; n++) await app.append('account-1', [new Deposited(1)]);
      await app.waitFor(projection, 11);
      expect((await app.status())[0]?.holder).to.equal('first');
      await stopFirst();
      await app.append('account-1', [new Deposited(1)]);
      await app.waitFor(projection, 12);
      expect((await app.status())[0]?.holder).to.equal('second');
      await stopSecond();
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('a crashed holder is succeeded when its lease has run out', async () => {
      const generation = await store.createGeneration('balances', {
        version: 1,
        collections: projection.collections,
      });
      const dead = await store.acquireLease(
        { ...generation, firstSlice: 0 },
        { holder: 'crashed', ttlMs: 60 },
      );
      expect(dead).to.have.property('token');
      await app.append('account-1', [new Deposited(1)]);
      work(1000, 'next');
      await app.waitFor(projection, 1);
      expect((await app.status())[0]?.holder).to.equal('next');
    });

    it('a worker whose lease was taken commits nothing more, and joins again when it is free', async () => {
      work(60_000, 'worker');
      await app.append('account-1', [new Deposited(1)]);
      await app.waitFor(projection, 1);
      const [held] = await store.partitions('balances');
      if (!held) throw new Error('no partition');
      // Another takes over as after an expiry: the holder's own name is what lets it in before that.
      const thief = await store.acquireLease(held, { holder: 'worker', ttlMs: 60_000 });
      if (!thief) throw new Error('not acquired');
      await app.append('account-1', [new Deposited(1)]);
      await until(async () => ((await store.partitions('balances'))[0]?.token ?? 0) > thief.token);
      await app.waitFor(projection, 2);
      expect(await documentsOf(store, 'balances')).to.deep.equal(new Map([['1', { total: 2, moves: 2 }]]));
    });

    it('a caller who only wants to catch up is content when another worker has done it', async () => {
      work(60_000, 'other');
      await app.append('account-1', [new Deposited(1), new Deposited(2)]);
      await app.catchUp();
      expect(await documentsOf(store, 'balances')).to.deep.equal(new Map([['1', { total: 3, moves: 2 }]]));
    });

    it('renews its lease while a long catch-up keeps the process busy', async () => {
      for (let n = 0; n < 20; n++) {
        await app.append(
          'account-1',
          Array.from({ length: 500 }, (_, amount) => new Deposited(amount)),
        );
      }
      let busyMs = 0;
      await app.catchUp({
        leaseMs: 400,
        batchSize: 100,
        onProgress: () => {
          const begun = performance.now();
          while (performance.now() - begun < 8);
          busyMs += 8;
        },
      });
      expect(busyMs, 'it takes longer than leases do').to.be.at.least(800);
      const [partition] = await store.partitions('balances');
      expect(partition, 'it was never taken again').to.deep.include({ token: 1, position: 10_000 });
    });

    it('a worker ends without an error when it is told to while the store is out of reach', async () => {
      let isAway = false;
      const failing = new Proxy(store, {
        get(target, key) {
          // What reads begin with is no promise.
          if (isAway && !['close', 'readAll'].includes(String(key))) {
            return () => Promise.reject(new StoreUnavailableError(String(key), new Error('away')));
          }
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
      const inline = balances({ name: 'inline', mode: 'inline' });
      app = createApplication({ store: failing, projections: [projection, inline], logger: silentLogger });
      const stop = work(1000, 'worker');
      await app.append('account-1', [new Deposited(1)]);
      await app.waitFor(projection, 1);
      isAway = true;
      // What waits for the log to grow looks at it, and finds that it cannot.
      await store.append('account-1', [{ type: 'Deposited', version: 1, data: { amount: 1 } }]);
      await stop();
    });
  });
}
