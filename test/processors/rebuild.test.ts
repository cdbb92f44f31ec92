import { expect } from 'chai';
import {
  createApplication,
  documentProjection,
  ProcessorOutdatedError,
  ProcessorStoppedError,
  silentLogger,
  WaitTimeoutError,
  type Application,
  type Progress,
  type Store,
} from '@refold/core';
import {
  Account,
  balances,
  Deposited,
  documentsOf,
  expectedBalances,
  Fixture,
  overriding,
  stores,
  type AnyProjection,
} from './fixture.js';

for (const { name, open } of stores) {
  describe(`replay and rebuild on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
    });
    afterEach(() => fixture.end());

    function application(projections: AnyProjection[]): Application {
      return applicationOn(store, projections);
    }

    function applicationOn(other: Store, projections: AnyProjection[]): Application {
      return createApplication({ store: other, aggregates: [Account], projections, logger: silentLogger });
    }

    function work(app: Application): () => Promise<void> {
      const controller = new AbortController();
      const ended = app.worker({ leaseMs: 2000 }).run({ signal: controller.signal });
      ended.catch(() => undefined);
      const stop = async (): Promise<void> => {
        controller.abort();
        await ended.catch(() => undefined);
      };
      fixture.defer(stop);
      return stop;
    }

    async function deposit(app: Application, count: number): Promise<void> {
      for (let n = 0; n < count; n++) await app.append(`account-${n % 5}`, [new Deposited(n)]);
    }

    it('builds the same read model again from the whole log', async () => {
      const app = application([balances()]);
      await deposit(app, 40);
      await app.catchUp();
      const before = await documentsOf(store, 'balances');
      await app.rebuild('balances');
      expect(await documentsOf(store, 'balances')).to.deep.equal(before);
      await deposit(app, 3);
      await app.catchUp();
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('builds a read model of only what lies behind a chosen position', async () => {
      const app = application([balances()]);
      await deposit(app, 40);
      await app.catchUp();
      await app.rebuild('balances', { after: 25 });
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store, 25));
      expect((await app.status())[0]).to.deep.include({ position: 40, lag: 0 });
    });

    it('builds a read model that nothing built before', async () => {
      const app = application([balances()]);
      await deposit(app, 10);
      await app.rebuild('balances', { after: 4 });
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store, 4));
    });

    it('serves and keeps up the live read model while the new one is built, and a worker goes on after the swap', async () => {
      const projection = balances();
      const app = application([projection]);
      await deposit(app, 60);
      const stop = work(app);
      await app.waitFor(projection, 60);
      const seen: number[] = [];
      const reports: Progress[] = [];
      let appended: Promise<void> | undefined;
      const rebuilt = app.rebuild(projection, {
        onProgress: (progress) => {
          reports.push(progress);
          appended ??= deposit(app, 20);
        },
      });
      let done = false;
      const watching = (async () => {
        while (!done) {
          const documents = await documentsOf(store, 'balances');
          seen.push(
            [...documents.values()].reduce<number>((sum, one) => sum + (one as { moves: number }).moves, 0),
          );
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      await rebuilt;
      await appended;
      done = true;
      await watching;
      expect(Math.min(...seen), 'readers never saw less than was there').to.be.at.least(60);
      expect(seen).to.deep.equal([...seen].sort((a, b) => a - b));
      expect(reports.length).to.be.greaterThan(0);
      await app.append('account-1', [new Deposited(1000)]);
      await app.waitFor(projection, await app.head());
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      const kept = (await store.generations('balances')).map(({ status }) => status);
      expect(kept).to.deep.equal(['retired', 'live']);
      await stop();
    });

    it('swaps under appends that never pause', async () => {
      const projection = balances();
      const app = application([projection]);
      const stop = work(app);
      await deposit(app, 20);
      let done = false;
      const appending = Promise.all(
        [1, 2, 3].map(async (account) => {
          while (!done) await app.append(`account-${account}`, [new Deposited(1)]);
        }),
      );
      await app.rebuild(projection);
      await app.rebuild(projection);
      done = true;
      await appending;
      await app.waitFor(projection, await app.head());
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      await stop();
    });

    it('a caller who waits for a raised version is not content with the old one', async () => {
      const first = application([balances()]);
      await deposit(first, 3);
      await first.catchUp();
      const second = application([balances({ version: 2 })]);
      const error = await second.waitFor('balances', 3, { timeoutMs: 20 }).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(WaitTimeoutError);
      work(second);
      await second.waitFor('balances', 3);
      expect((await second.status())[0]).to.deep.include({ liveVersion: 2, version: 2, lag: 0 });
    });

    it('leaves the live read model as it was when the build fails', async () => {
      let broken = false;
      const app = application([balances({ broken: (amount) => broken && amount === 7 })]);
      await deposit(app, 20);
      await app.catchUp();
      const before = await documentsOf(store, 'balances');
      broken = true;
      const error = await app.rebuild('balances').catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProcessorStoppedError);
      expect((error as ProcessorStoppedError).event).to.have.property('position', 8);
      expect(await documentsOf(store, 'balances')).to.deep.equal(before);
      broken = false;
      await deposit(app, 2);
      await app.catchUp();
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      await app.rebuild('balances');
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('stops a build when its signal aborts, and the next build begins anew', async () => {
      const app = application([balances()]);
      await deposit(app, 30);
      await app.catchUp();
      const controller = new AbortController();
      const reason = new Error('enough');
      const error = await app
        .rebuild('balances', { signal: controller.signal, onProgress: () => controller.abort(reason) })
        .catch((thrown: unknown) => thrown);
      // The build may have been done when the signal came: then there was nothing left to stop.
      if (error !== undefined) expect(error).to.equal(reason);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      await app.rebuild('balances', { after: 10 });
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store, 10));
    });

    it('builds a raised version beside the old one and swaps it in by itself', async () => {
      const first = application([balances()]);
      await deposit(first, 30);
      await first.catchUp();
      const doubled = documentProjection('balances', { version: 2, initial: () => ({ double: 0 }) }).on(
        Deposited,
        (document, { data }) => ({ double: document.double + 2 * data.amount }),
      );
      const second = application([doubled]);
      await second.catchUp();
      const expected = [...(await expectedBalances(store))].map(([key, { total }]) => [
        key,
        { double: 2 * total },
      ]);
      expect([...(await documentsOf(store, 'balances'))]).to.deep.equal(expected.sort());
      const outdated = await first.catchUp().catch((thrown: unknown) => thrown);
      expect(outdated).to.be.instanceOf(ProcessorOutdatedError).and.include({ declared: 1, stored: 2 });
    });

    /** The store, with something that happens once, just before the transaction that swaps a finished build in. */
    function withBeforeSwap(before: () => Promise<void>): Store {
      let due = true;
      const transaction: Store['transaction'] = async (callback) => {
        const partitions = await store.partitions('balances');
        // A build that is still being filled is held by its worker.
        if (due && partitions.every(({ holder }) => holder === undefined)) {
          due = false;
          await before();
        }
        return store.transaction(callback);
      };
      return overriding(store, { transaction });
    }

    it('a worker whose build another has swapped in just before goes on with it', async () => {
      const first = application([balances()]);
      await deposit(first, 5);
      await first.catchUp();
      const other = application([balances({ version: 2 })]);
      const raced = applicationOn(
        withBeforeSwap(() => other.catchUp()),
        [balances({ version: 2 })],
      );
      await raced.catchUp();
      expect((await raced.status())[0]).to.deep.include({ liveVersion: 2, lag: 0, failure: undefined });
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('a rebuild that another worker has swapped in just before is done', async () => {
      const other = application([balances()]);
      await deposit(other, 5);
      const raced = applicationOn(
        withBeforeSwap(() => other.catchUp()),
        [balances()],
      );
      await raced.rebuild('balances', { after: 2 });
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store, 2));
    });

    it('a rebuild that another rebuild has replaced just before its swap says so', async () => {
      const other = application([balances()]);
      await deposit(other, 5);
      await other.catchUp();
      const raced = applicationOn(
        withBeforeSwap(() => other.rebuild('balances')),
        [balances()],
      );
      const error = await raced.rebuild('balances', { after: 2 }).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProcessorStoppedError);
      expect(error).to.have.property('message').that.includes('another rebuild took its place');
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('goes on with a build that was interrupted, when it is told to, and tells of it until then', async () => {
      const app = application([balances({ partitions: 2 })]);
      await deposit(app, 60);
      await app.catchUp();
      const interrupted = await store.createGeneration('balances', {
        version: 1,
        collections: balances().collections,
        partitions: 2,
        beside: true,
      });
      const before: unknown[] = [];
      await store.transaction(async (unit) => {
        for (const partition of await store.partitions('balances')) {
          if (partition.generation === interrupted.generation) before.push(partition.position);
        }
        await unit
          .documents('balances', interrupted.generation)
          .putMany(new Map([['kept', { total: 1, moves: 1 }]]));
      });
      expect(before).to.deep.equal([0, 0]);
      expect((await app.status())[0]?.building).to.deep.equal({ version: 1, position: 0 });
      await app.rebuild('balances', { resume: true });
      expect(await app.readModel(balances()).get('kept'), 'what was built before').to.deep.equal({
        total: 1,
        moves: 1,
      });
      await app.rebuild('balances');
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('keeps what the last swap replaced, and drops what was replaced before that', async () => {
      const app = application([balances()]);
      await deposit(app, 5);
      await app.catchUp();
      await app.rebuild('balances');
      await app.rebuild('balances');
      const generations = await store.generations('balances');
      expect(generations.map(({ generation, status }) => [generation, status])).to.deep.equal([
        [2, 'retired'],
        [3, 'live'],
      ]);
      expect(await app.processor('balances').dropReplaced()).to.deep.equal([1]);
      expect(await store.generations('balances')).to.have.length(1);
    });

    it('reads the log from any position, in both directions, decoded and typed', async () => {
      const app = application([balances()]);
      await deposit(app, 10);
      const amounts: number[] = [];
      for await (const { data } of app.events({ types: [Deposited], after: 6, to: 9 }))
        amounts.push(data.amount);
      expect(amounts).to.deep.equal([6, 7, 8]);
      const [last] = await app.events({ types: [Deposited], direction: 'backward', limit: 1 }).toArray();
      expect(last?.data).to.be.instanceOf(Deposited).and.have.property('amount', 9);
    });
  });
}
