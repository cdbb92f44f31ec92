import {
  createApplication,
  decider,
  defineEvent,
  delivery,
  memoryStore,
  receiver,
  RevisionConflictError,
  silentLogger,
  UnknownMessageTypeError,
  type ReceivedMessage,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import { recordingTransport } from '../recording-transport.js';
import { logOf, outcome } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';

const Sold = defineEvent('Sold', (item: string, cents: number) => ({ item, cents }));
/** What other services still send: the amount had another name and unit. */
const OldSold = defineEvent('ItemSold', (item: string, euros: number) => ({ item, euros }));
const KnownSold = defineEvent('Sold', (item: string, cents: number) => ({ item, cents }), {
  aliases: ['ItemSold'],
  version: 2,
  upcasters: {
    1: ({ item, euros }: { readonly item: string; readonly euros: number }) => ({ item, cents: euros * 100 }),
  },
});
const Returned = defineEvent('Returned', (item: string) => ({ item }));
const Booked = defineEvent('Booked', (cents: number) => ({ cents }));

const Till = decider({
  category: 'till',
  events: [Booked],
  initial: () => ({ cents: 0 }),
  decide: (cents: number) => Booked(cents),
  evolve: ({ cents }, { data }) => ({ cents: cents + data.cents }),
});

/** What a delivery sends of these events, as it arrives. */
async function messagesOf(events: readonly object[]): Promise<ReceivedMessage[]> {
  const transport = recordingTransport();
  const sales = delivery('sales', { transport }).on(OldSold).on(Returned);
  const app = createApplication({ store: memoryStore(), deliveries: [sales], logger: silentLogger });
  await app.append('shop-1', events, { metadata: { correlationId: 'c1' } });
  await app.catchUp();
  await app.close();
  return [...transport.received()];
}

/** Messages that are handled by their types. */
export function describeApplicationReceivers(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>): void =>
    itNeeds(harness, ['transactions'], title, body);

  describe('the receivers of an application', () => {
    const stores = useStores(harness);

    itCan('handle messages by type, led to its version, each once, in one transaction', async () => {
      const store = await stores.open();
      const books = receiver('books')
        .on(KnownSold, async ({ data, message }, { unit }) => {
          await app.append(`till-${message.key}`, [Booked(data.cents)], { transaction: unit });
        })
        .on(Returned, async ({ data, message }, { unit }) => {
          assert.equal(data.item, 'tea');
          await app.append(`till-${message.key}`, [Booked(-1)], { transaction: unit });
        });
      const app = createApplication({
        ...{ store, aggregates: [Till], receivers: [books], logger: silentLogger },
      });
      const messages = await messagesOf([OldSold('tea', 3), Returned('tea'), OldSold('jam', 2)]);
      const repeats: boolean[] = [];
      for (const message of [...messages, ...messages]) {
        repeats.push((await app.receive(books, message)).duplicate);
      }
      assert.deepEqual(repeats, [false, false, false, true, true, true]);
      assert.deepEqual(
        (await logOf(store)).map(({ stream, data, metadata }) => ({
          ...{ stream, data, correlationId: metadata.correlationId, causationId: metadata.causationId },
        })),
        [300, -1, 200].map((cents, index) => ({
          ...{
            stream: 'till-shop-1',
            data: { cents },
            correlationId: 'c1',
            causationId: messages[index]?.id,
          },
        })),
      );
    });

    itCan('remember nothing of a message whose handler fails, or that they do not know', async () => {
      const store = await stores.open();
      let broken = true;
      const books = receiver('books').on(Returned, async (_, { unit }) => {
        await app.append('till-1', [Booked(-1)], { transaction: unit });
        if (broken) throw new Error('not now');
      });
      const some = receiver('some', { unknownTypes: 'ignore' }).on(Sold, () => {});
      const app = createApplication({
        ...{ store, aggregates: [Till], receivers: [books, some], logger: silentLogger },
      });
      const [unknown, known] = await messagesOf([OldSold('tea', 3), Returned('tea')]);
      if (!unknown || !known) throw new Error('nothing was sent');
      assert.instanceOf(await outcome(() => app.receive(books, unknown)), UnknownMessageTypeError);
      assert.deepEqual(await app.receive(some, unknown), { duplicate: false });
      assert.instanceOf(await outcome(() => app.receive('books', known)), Error);
      assert.lengthOf(await logOf(store), 0);
      broken = false;
      assert.deepEqual(await app.receive('books', known), { duplicate: false });
      assert.deepEqual(await app.receive('books', known), { duplicate: true });
      assert.lengthOf(await logOf(store), 1);
    });

    itCan('do their work again when others were quicker to change a stream', async () => {
      const store = await stores.open();
      let attempts = 0;
      const books = receiver('books', { maxAttempts: 3 }).on(Returned, async ({ data }, { unit }) => {
        attempts += 1;
        if (data.item === 'tea' && attempts < 3) throw new RevisionConflictError('till-1', 0, 1);
        if (data.item === 'jam') throw new RevisionConflictError('till-1', 0, 1);
        await app.repository(Till).upsert('1', (till) => till.execute(-1), { transaction: unit });
      });
      const app = createApplication({
        ...{ store, aggregates: [Till], receivers: [books], logger: silentLogger },
      });
      const [tea, jam] = await messagesOf([Returned('tea'), Returned('jam')]);
      if (!tea || !jam) throw new Error('nothing was sent');
      assert.deepEqual(await app.receive(books, tea), { duplicate: false });
      assert.deepEqual([attempts, (await logOf(store)).length], [3, 1]);
      attempts = 0;
      assert.instanceOf(await outcome(() => app.receive(books, jam)), RevisionConflictError);
      assert.equal(attempts, 3);
    });
  });
}
