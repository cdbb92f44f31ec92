import { expect } from 'chai';
import {
  createApplication,
  delivery,
  silentLogger,
  type Application,
  type Delivery,
  type DeliveryOptions,
  type Store,
} from '@refold/core';
import { Account, Deposited, Fixture, stores, until, workUntilTheEnd } from './fixture.js';

for (const { name, open } of stores) {
  describe(`deliveries that begin anew on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;
    /** What was handled, replays included, and what had its effect. */
    let handled: number[];
    let effects: number[];

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
      handled = [];
      effects = [];
    });
    afterEach(() => fixture.end());

    function notes(
      options: DeliveryOptions,
      before: (amount: number, replaying: boolean) => void | Promise<void> = () => {},
    ): Delivery {
      return delivery('notes', { retry: { maxAttempts: 1 }, ...options }).on(
        Deposited,
        async ({ data: { amount } }, { replaying, effect }) => {
          await before(amount, replaying);
          handled.push(amount);
          await effect(() => void effects.push(amount));
        },
      );
    }

    function application(one: Delivery): Application {
      return createApplication({ store, aggregates: [Account], deliveries: [one], logger: silentLogger });
    }

    /** Appends amounts from 0 on, each once, to some accounts, until it is told to end. */
    function appending(app: Application): { readonly end: () => Promise<number> } {
      let done = false;
      let amount = 0;
      const ended = (async () => {
        for (; !done; amount++) await app.append(`account-${amount % 7}`, [new Deposited(amount)]);
      })();
      return {
        end: async () => {
          done = true;
          await ended;
          return amount;
        },
      };
    }

    function upTo(end: number): number[] {
      return Array.from({ length: end }, (_, amount) => amount);
    }

    function sorted(amounts: readonly number[]): number[] {
      return [...amounts].sort((a, b) => a - b);
    }

    for (const guarantee of ['atLeastOnce', 'atMostOnce'] as const) {
      it(`${guarantee}: a rebuild ends though the live one moves on before the swap, and nothing is left out`, async () => {
        let late: Promise<void> | undefined;
        const app = application(
          notes({ guarantee }, (amount, replaying) => {
            // The build waits at its last event until the live one has handled one more.
            if (replaying && amount === 4) return (late ??= live());
          }),
        );
        const live = async (): Promise<void> => {
          const { position } = await app.append('account-1', [new Deposited(5)]);
          await app.waitFor('notes', position);
        };
        for (const amount of upTo(5)) await app.append(`account-${amount}`, [new Deposited(amount)]);
        const { stop } = workUntilTheEnd(app, fixture);
        await app.waitFor('notes', 5);
        await app.processor('notes').rebuild();
        expect(late, 'the live one has moved on').to.not.equal(undefined);
        await stop();
        await app.append('account-1', [new Deposited(6)]);
        await app.catchUp();
        expect(effects).to.deep.equal(upTo(7));
        expect(sorted(handled)).to.deep.equal(sorted([...upTo(7), ...upTo(6)]));
      });
    }

    for (const guarantee of ['atLeastOnce', 'atMostOnce', 'exactlyOnce'] as const) {
      it(`${guarantee}: rebuilds, resets and rollbacks end while appends go on`, async () => {
        const app = application(notes({ guarantee, partitions: 3 }));
        workUntilTheEnd(app, fixture);
        const appends = appending(app);
        await until(() => effects.length > 20);
        await app.processor('notes').rebuild();
        await app.processor('notes').reset();
        await app.processor('notes').rebuild();
        await app.processor('notes').rollback();
        const end = await appends.end();
        await app.waitFor('notes', end);
        // What is in hand at a swap may be repeated at least once, and lost at most once.
        if (guarantee === 'atMostOnce') expect(new Set(effects).size).to.equal(effects.length);
        else expect(sorted([...new Set(effects)])).to.deep.equal(upTo(end));
      });
    }
  });
}
