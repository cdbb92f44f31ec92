import { expect } from 'chai';
import {
  createApplication,
  customProjection,
  silentLogger,
  type Application,
  type Projection,
  type Store,
} from '@refold/core';
import {
  Account,
  balances,
  Deposited,
  documentsOf,
  expectedBalances,
  Fixture,
  stores,
  until,
  workUntilTheEnd,
} from './fixture.js';

for (const { name, open } of stores) {
  describe(`many workers on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
    });
    afterEach(() => fixture.end());

    function application(...projections: Projection[]): Application {
      return createApplication({ store, aggregates: [Account], projections, logger: silentLogger });
    }

    async function deposit(app: Application, accounts: number, moves: number): Promise<void> {
      for (let account = 0; account < accounts; account++) {
        await app.append(
          `account-${account}`,
          Array.from({ length: moves }, (_, n) => new Deposited(n)),
        );
      }
    }

    /** How many partitions each worker holds, in the order of their names. */
    async function holdings(): Promise<number[]> {
      const held = new Map<string, number>();
      for (const { holder, leaseExpiresAt } of await store.partitions('balances')) {
        if (holder === undefined || (leaseExpiresAt?.getTime() ?? 0) < Date.now()) continue;
        held.set(holder, (held.get(holder) ?? 0) + 1);
      }
      return [...held].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, count]) => count);
    }

    it('share the partitions evenly, hand over to one that joins, and take over from one that leaves', async () => {
      const app = application(balances({ partitions: 8 }));
      const first = workUntilTheEnd(app, fixture, { name: 'a', leaseMs: 400 });
      await until(async () => String(await holdings()) === '8');
      await deposit(app, 20, 5);
      const second = workUntilTheEnd(app, fixture, { name: 'b', leaseMs: 400 });
      await until(async () => String(await holdings()) === '4,4');
      workUntilTheEnd(app, fixture, { name: 'c', leaseMs: 400 });
      await until(async () => (await holdings()).every((count) => count === 2 || count === 3));
      await deposit(app, 20, 5);
      await second.stop();
      await first.stop();
      await until(async () => String(await holdings()) === '8');
      await deposit(app, 20, 5);
      await app.waitFor('balances', await app.head());
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('read the log once for all partitions that one of them holds', async () => {
      const app = application(balances({ partitions: 16 }));
      await deposit(app, 40, 50);
      let reads = 0;
      const counting = new Proxy(store, {
        get(target, key) {
          if (key === 'readAll') reads += 1;
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
      const counted = createApplication({
        store: counting,
        projections: [balances({ partitions: 16 })],
        logger: silentLogger,
      });
      await counted.catchUp({ batchSize: 500 });
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      expect(reads, '4 pages, not 4 for each of 16 partitions').to.be.at.most(16);
    });

    it('keep every event in its sequence and do nothing twice while partitions are split and merged', async () => {
      const app = application(balances());
      workUntilTheEnd(app, fixture, { name: 'a', leaseMs: 400 });
      workUntilTheEnd(app, fixture, { name: 'b', leaseMs: 400 });
      let done = false;
      const appending = (async () => {
        for (let n = 0; !done; n++) {
          await app.append(`account-${n % 50}`, [new Deposited(n)]);
          if (n % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        }
      })();
      const handle = app.processor('balances');
      await until(async () => (await handle.status()).partitions.length === 1);
      for (let n = 0; n < 4; n++) {
        await handle.split();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect((await handle.status()).partitions).to.have.length(5);
      for (let n = 0; n < 3; n++) {
        await handle.merge();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect((await handle.status()).partitions).to.have.length(2);
      done = true;
      await appending;
      await app.waitFor('balances', await app.head());
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('commit nothing more once a pause has returned, and go on where they were', async () => {
      const app = application(balances({ partitions: 3 }));
      workUntilTheEnd(app, fixture);
      await deposit(app, 10, 3);
      await app.waitFor('balances', await app.head());
      const handle = app.processor('balances');
      await handle.pause();
      const before = await documentsOf(store, 'balances');
      await deposit(app, 10, 3);
      expect(await handle.status()).to.deep.include({ state: 'paused', lag: 30 });
      expect((await handle.status()).lagMs).to.be.at.least(0);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(await documentsOf(store, 'balances')).to.deep.equal(before);
      await handle.resume();
      await app.waitFor('balances', await app.head());
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      expect((await handle.status()).state).to.equal('running');
    });

    it('begin anew behind a position after a reset, with an empty read model', async () => {
      const app = application(balances({ partitions: 2 }));
      workUntilTheEnd(app, fixture);
      await deposit(app, 5, 2);
      await app.waitFor('balances', 10);
      await app.processor('balances').reset({ to: 4 });
      await deposit(app, 5, 2);
      await app.waitFor('balances', 20);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store, 4));
    });

    it('tell handlers of a rebuild that they replay, and of a new event that they do not', async () => {
      const seen: [number, boolean][] = [];
      const effects: number[] = [];
      const seeing = customProjection('seeing').on(Deposited, async ({ position }, { replaying, effect }) => {
        seen.push([position, replaying]);
        await effect(() => void effects.push(position));
      });
      const app = application(seeing);
      await deposit(app, 1, 3);
      await app.catchUp();
      await deposit(app, 1, 1);
      await app.rebuild(seeing);
      await deposit(app, 1, 1);
      await app.catchUp();
      expect(seen).to.deep.equal([
        [1, false],
        [2, false],
        [3, false],
        [1, true],
        [2, true],
        [3, true],
        [4, false],
        [5, false],
      ]);
      expect(effects).to.deep.equal([1, 2, 3, 4, 5]);
    });

    it('put back what a swap replaced, brought up to date, and the other version waits meanwhile', async () => {
      const doubled = customProjection('balances', { version: 2, documents: ['balances'] }).on(
        Deposited,
        async ({ stream, data: { amount } }, { documents }) => {
          const key = stream.slice('account-'.length);
          const before = (await documents('balances').getMany([key])).get(key) as
            { double: number } | undefined;
          await documents('balances').putMany(
            new Map([[key, { double: (before?.double ?? 0) + 2 * amount }]]),
          );
        },
      );
      const old = application(balances());
      const next = application(doubled);
      await deposit(old, 3, 4);
      await old.catchUp();
      const oldWorker = workUntilTheEnd(old, fixture, { leaseMs: 200 });
      workUntilTheEnd(next, fixture, { leaseMs: 200 });
      await until(async () => (await old.status())[0]?.liveVersion === 2);
      await deposit(old, 3, 4);
      await next.waitFor('balances', 24);
      expect(await store.documents('balances').get('1')).to.deep.equal({ double: 24 });
      await old.processor('balances').rollback();
      expect((await old.status())[0]?.liveVersion).to.equal(1);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      await deposit(old, 3, 1);
      await old.waitFor('balances', 27);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      await next.processor('balances').rollback();
      await next.waitFor('balances', 27);
      expect(await store.documents('balances').get('2')).to.deep.equal({ double: 24 });
      await oldWorker.stop();
    });

    it('of an older version rest when a newer one goes live under them', async () => {
      let looks = 0;
      const counting = new Proxy(store, {
        get(target, key) {
          // One that never rests would keep this very process from its work.
          if (key === 'generations' && ++looks > 500) throw new Error('it looks again and again');
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
      const old = createApplication({
        store: counting,
        aggregates: [Account],
        projections: [balances({ partitions: 8 })],
        logger: silentLogger,
      });
      workUntilTheEnd(old, fixture, { name: 'old', leaseMs: 300 });
      await deposit(old, 20, 2);
      await old.waitFor('balances', await old.head());
      const next = application(balances({ version: 2, partitions: 8 }));
      await next.catchUp();
      expect((await next.status())[0]?.liveVersion).to.equal(2);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(looks).to.be.below(100);
    });

    it('finish a build of which less is left than there are workers', async () => {
      const old = application(balances({ partitions: 2 }));
      await deposit(old, 20, 2);
      await old.catchUp();
      const next = balances({ version: 2, partitions: 2 });
      const { collections, partitions } = next;
      const building = await store.createGeneration('balances', { version: 2, collections, partitions });
      await store.acquireLease({ ...building, firstSlice: 512 }, { holder: 'gone', ttlMs: 1000 });
      const app = application(next);
      workUntilTheEnd(app, fixture, { name: 'a', leaseMs: 200 });
      workUntilTheEnd(app, fixture, { name: 'b', leaseMs: 200 });
      await until(async () => (await app.status())[0]?.liveVersion === 2);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('leave a processor alone that another has stopped at an error, until it is resumed', async () => {
      let broken = true;
      const app = application(balances({ broken: (amount) => broken && amount === 3 }));
      const { ended } = workUntilTheEnd(app, fixture, { name: 'a', leaseMs: 200 });
      await until(async () => (await store.partitions('balances'))[0]?.holder === 'a');
      workUntilTheEnd(app, fixture, { name: 'b', leaseMs: 200 });
      await until(async () => (await store.workers()).length === 2);
      await deposit(app, 1, 5);
      await ended.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 200));
      const [stopped] = await app.status();
      expect(stopped).to.deep.include({ state: 'stopped', position: 3 });
      expect(stopped?.failure?.event).to.have.property('position', 4);
      broken = false;
      await app.processor('balances').resume();
      await app.waitFor('balances', 5);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });
  });
}
