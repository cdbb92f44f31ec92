import { expect } from 'chai';
import {
  createApplication,
  customProjection,
  delivery,
  documentProjection,
  ProcessorStoppedError,
  silentLogger,
  UnsupportedError,
  type Application,
  type Delivery,
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
  workUntilTheEnd,
} from './fixture.js';

for (const { name, open } of stores) {
  describe(`verification and replay of a window on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
    });
    afterEach(() => fixture.end());

    function application(projections: Projection[], deliveries: Delivery[] = []): Application {
      return createApplication({
        store,
        aggregates: [Account],
        projections,
        deliveries,
        logger: silentLogger,
      });
    }

    async function deposit(app: Application, accounts: number, moves: number): Promise<void> {
      for (let account = 0; account < accounts; account++) {
        const events = Array.from({ length: moves }, (_, n) => new Deposited(n + 1));
        await app.append(`account-${account}`, events);
      }
    }

    it('finds nothing in a read model that follows from its events, while it is kept up', async () => {
      const app = application([balances({ partitions: 3 })]);
      workUntilTheEnd(app, fixture);
      await deposit(app, 30, 5);
      await app.waitFor('balances', 150);
      await app.processor('balances').split();
      let done = false;
      const appending = (async () => {
        while (!done) await app.append('account-7', [new Deposited(1)]);
      })();
      const found = await app.processor('balances').verify();
      done = true;
      await appending;
      expect(found).to.deep.include({ documents: 30, differences: [], truncated: false });
      expect(found.position).to.be.at.least(150);
      expect((await store.generations('balances')).map(({ status }) => status)).to.deep.equal(['live']);
    });

    it('finds documents that have drifted, are missing, or should not be there', async () => {
      const app = application([balances()]);
      await deposit(app, 5, 2);
      await app.catchUp();
      await store.transaction(async (unit) => {
        const documents = unit.documents('balances', 1);
        await documents.putMany(
          new Map<string, unknown>([
            ['1', { total: 99, moves: 2 }],
            ['x', {}],
          ]),
        );
        await documents.deleteMany(['3']);
      });
      const { differences } = await app.processor('balances').verify();
      const sum = { total: 3, moves: 2 };
      expect(differences).to.deep.equal([
        { collection: 'balances', key: '1', live: { total: 99, moves: 2 }, rebuilt: sum },
        { collection: 'balances', key: '3', live: undefined, rebuilt: sum },
        { collection: 'balances', key: 'x', live: {}, rebuilt: undefined },
      ]);
      expect(await app.processor('balances').verify({ limit: 1 })).to.deep.include({ truncated: true });
      await app.rebuild('balances');
      expect((await app.processor('balances').verify()).differences).to.deep.equal([]);
    });

    it('finds handlers that depend on more than their events', async () => {
      let calls = 0;
      const impure = documentProjection('impure', { initial: () => ({ calls: 0 }) }).on(
        Deposited,
        (document) => {
          document.calls = calls += 1;
        },
      );
      const app = application([impure]);
      await deposit(app, 2, 2);
      await app.catchUp();
      expect((await app.processor('impure').verify()).differences).to.have.length(2);
    });

    it('hands a window to a delivery again, told that it replays, and moves no checkpoint', async () => {
      const seen: [number, boolean][] = [];
      let broken = 0;
      const notes = delivery('notes').on(Deposited, ({ position }, { replaying }) => {
        if (position === broken) throw new Error('not now');
        seen.push([position, replaying]);
      });
      const app = application([balances()], [notes]);
      await deposit(app, 2, 4);
      await app.catchUp();
      seen.length = 0;
      const before = await store.partitions('notes');
      const where = ({ stream }: { readonly stream: string }): boolean => stream === 'account-1';
      expect(await app.processor('notes').replay({ after: 2, to: 7, where, batchSize: 2 })).to.equal(3);
      expect(seen).to.deep.equal([
        [5, true],
        [6, true],
        [7, true],
      ]);
      expect(await store.partitions('notes')).to.deep.equal(before);
      broken = 6;
      const error = await app
        .processor('notes')
        .replay({ after: 4 })
        .catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProcessorStoppedError);
      expect((error as ProcessorStoppedError).event).to.have.property('position', 6);
      const folded = await app
        .processor('balances')
        .replay()
        .catch((thrown: unknown) => thrown);
      expect(folded).to.be.instanceOf(UnsupportedError);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('hands a window to a custom projection within a transaction', async () => {
      const counted = customProjection('counted', { documents: ['counts'] }).on(
        Deposited,
        async (_, { documents }) => {
          const access = documents('counts');
          const count = ((await access.getMany(['n'])).get('n') as { n: number } | undefined)?.n ?? 0;
          await access.putMany(new Map([['n', { n: count + 1 }]]));
        },
      );
      const app = application([counted]);
      await deposit(app, 1, 4);
      await app.catchUp();
      expect(await app.processor('counted').replay({ after: 1 })).to.equal(3);
      expect(await store.documents('counts').get('n')).to.deep.equal({ n: 7 });
    });
  });
}
