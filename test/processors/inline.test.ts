import { expect } from 'chai';
import {
  createApplication,
  documentProjection,
  InlineProjectionError,
  silentLogger,
  type Application,
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
  type AnyProjection,
} from './fixture.js';

for (const { name, open } of stores) {
  describe(`inline projections on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
    });
    afterEach(() => fixture.end());

    function application(...projections: AnyProjection[]): Application {
      return createApplication({ store, aggregates: [Account], projections, logger: silentLogger });
    }

    it('show an append as soon as it returns, with no worker', async () => {
      const projection = balances({ mode: 'inline' });
      const app = application(projection);
      for (let moves = 1; moves <= 10; moves++) {
        const { position } = await app.repository(Account).upsert('1', (account) => account.deposit(2));
        expect(await app.readModel(projection).get('1')).to.deep.equal({ total: 2 * moves, moves });
        await app.waitFor(projection, position ?? 0, { timeoutMs: 0 });
      }
      expect((await app.status())[0]).to.deep.include({ state: 'running', lag: 0 });
    });

    it('stay exact under many callers at once', async () => {
      const app = application(balances({ mode: 'inline' }));
      const repository = app.repository(Account, { maxAttempts: 100 });
      await Promise.all(
        Array.from({ length: 150 }, (_, n) =>
          repository.upsert(`${n % 11}`, (account) => account.deposit(n)),
        ),
      );
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('fail their own append alone, with nothing of it left', async () => {
      const app = application(balances({ mode: 'inline', broken: (amount) => amount % 10 === 3 }));
      const outcomes = await Promise.allSettled(
        Array.from({ length: 30 }, (_, n) =>
          app.append(`account-${n % 4}`, [new Deposited(1000), new Deposited(n)]),
        ),
      );
      outcomes.forEach((outcome, n) => {
        expect(outcome.status, `${n}`).to.equal(n % 10 === 3 ? 'rejected' : 'fulfilled');
        if (outcome.status === 'rejected') {
          expect(outcome.reason)
            .to.be.instanceOf(InlineProjectionError)
            .and.have.property('processor', 'balances');
          expect((outcome.reason as InlineProjectionError).cause).to.have.property(
            'message',
            `cannot handle ${n}`,
          );
        }
      });
      expect(await store.head()).to.equal(27 * 2);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('take in what was appended before they existed, and by programs without them', async () => {
      const without = application();
      for (let n = 0; n < 5; n++) await without.append('account-1', [new Deposited(n)]);
      const app = application(balances({ mode: 'inline' }));
      await app.append('account-2', [new Deposited(1)]);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      for (let n = 0; n < 5; n++) await without.append('account-1', [new Deposited(n)]);
      await app.append('account-2', [new Deposited(1)]);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      await without.append('account-3', [new Deposited(1)]);
      await app.catchUp();
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('are rebuilt and raised to a new version while appends go on', async () => {
      const app = application(balances({ mode: 'inline' }));
      for (let n = 0; n < 20; n++) await app.append(`account-${n % 3}`, [new Deposited(n)]);
      const appending = (async () => {
        for (let n = 0; n < 30; n++) await app.append(`account-${n % 3}`, [new Deposited(n)]);
      })();
      await app.rebuild('balances');
      await appending;
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));

      const counts = documentProjection('balances', {
        version: 2,
        mode: 'inline',
        initial: () => ({ count: 0 }),
      }).on(Deposited, ({ count }) => ({ count: count + 1 }));
      const next = application(counts);
      await next.append('account-1', [new Deposited(1)]);
      // The old program still runs: what it appends is taken in by the next append of the new one.
      await app.append('account-1', [new Deposited(1)]);
      await next.append('account-1', [new Deposited(1)]);
      const expected = [...(await expectedBalances(store))].map(([key, { moves }]) => [
        key,
        { count: moves },
      ]);
      expect([...(await documentsOf(store, 'balances'))]).to.deep.equal(expected.sort());
    });
  });
}
