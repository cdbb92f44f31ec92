import {
  createApplication,
  decider,
  defineEvent,
  documentProjection,
  inboxMessage,
  silentLogger,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import { logOf, outcome } from './expectations.js';
import { itNeeds, useStores, type Capability, type StoreHarness } from './harness.js';

const Paid = defineEvent('Paid', (amount: number) => ({ amount }));

const Purse = decider({
  category: 'purse',
  events: [Paid],
  initial: () => ({ total: 0 }),
  decide: (amount: number) => Paid(amount),
  evolve: ({ total }, { data }) => ({ total: total + data.amount }),
});

/** Messages that lead to events. */
export function describeApplicationInbox(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>, also: readonly Capability[] = []): void =>
    itNeeds(harness, ['transactions', ...also], title, body);

  describe('the inbox of an application', () => {
    const stores = useStores(harness);

    itCan('appends what a message leads to once, caused by the message', async () => {
      const store = await stores.open();
      const app = createApplication({ store, aggregates: [Purse], logger: silentLogger });
      const [inbox, purses] = [app.inbox('payments'), app.repository(Purse)];
      const message = inboxMessage({ id: 'm1', source: '/bank', correlationid: 'c1' });
      for (const duplicate of [false, true]) {
        const done = await inbox.once(message, async (transaction) => {
          await purses.upsert('1', (purse) => purse.execute(5), { transaction });
          await app.append('purse-2', [Paid(6)], { transaction });
        });
        assert.equal(done.duplicate, duplicate);
      }
      await inbox.once({ id: 'm2' }, (transaction) =>
        app.append('purse-3', [Paid(7)], { transaction, metadata: { by: 'me' } }),
      );
      assert.deepEqual(
        (await logOf(store)).map(({ stream, metadata }) => [stream, metadata]),
        [
          ['purse-1', { correlationId: 'c1', causationId: 'm1' }],
          ['purse-2', { correlationId: 'c1', causationId: 'm1' }],
          ['purse-3', { correlationId: 'm2', causationId: 'm2', by: 'me' }],
        ],
      );
    });

    itCan('appends nothing for work that fails', async () => {
      const store = await stores.open();
      const app = createApplication({ store, aggregates: [Purse], logger: silentLogger });
      const inbox = app.inbox('payments', { dedupeBy: 'sequence' });
      const failed = await outcome(() =>
        inbox.once({ sequence: 1 }, async (transaction) => {
          await app.append('purse-1', [Paid(1)], { transaction });
          throw new Error('undone');
        }),
      );
      assert.instanceOf(failed, Error);
      assert.lengthOf(await logOf(store), 0);
      await inbox.once({ sequence: 1 }, (transaction) => app.append('purse-1', [Paid(1)], { transaction }));
      assert.deepEqual(
        (await logOf(store)).map(({ metadata }) => metadata),
        [{}],
      );
    });

    itCan(
      'keeps inline projections up to date with what it appends',
      async () => {
        const totals = documentProjection('totals', { mode: 'inline', initial: () => ({ total: 0 }) }).on(
          Paid,
          ({ total }, { data }) => ({ total: total + data.amount }),
        );
        const store = await stores.open();
        const app = createApplication({ store, projections: [totals], logger: silentLogger });
        const inbox = app.inbox('payments');
        for (const id of ['m1', 'm2', 'm1']) {
          await inbox.once({ id }, (transaction) => app.append('purse-1', [Paid(2)], { transaction }));
        }
        assert.deepEqual(await app.readModel(totals).get('1'), { total: 4 });
      },
      ['inline'],
    );
  });
}
