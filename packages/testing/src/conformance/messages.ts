import {
  createApplication,
  decider,
  defineEvent,
  delivery,
  documentProjection,
  InlineProjectionError,
  messageStreamOf,
  RevisionConflictError,
  silentLogger,
  UnknownEventTypeError,
  type Application,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import { failure, logOf, outcome } from './expectations.js';
import { itNeeds, useStores, type Capability, type StoreHarness } from './harness.js';

export const Paid = defineEvent('Paid', (amount: number) => ({ amount }));
export const Mail = defineEvent('Mail', (text: string) => ({ text }));
const Undeclared = defineEvent('Undeclared', () => ({}));

const Purse = decider({
  category: 'purse',
  events: [Paid],
  initial: () => ({ total: 0 }),
  decide: (amount: number) => (amount === 0 ? [] : Paid(amount)),
  evolve: ({ total }, { data }) => ({ total: total + data.amount }),
});

/** Messages that are appended beside events. */
export function describeMessages(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>, also: readonly Capability[] = []): void =>
    itNeeds(harness, ['multiStreamAppend', ...also], title, body);

  describe('messages beside events', () => {
    const stores = useStores(harness);
    const open = async (): Promise<{ store: Store; app: Application }> => {
      const store = await stores.open();
      const app = createApplication({ store, aggregates: [Purse], events: [Mail], logger: silentLogger });
      return { store, app };
    };

    itCan('are appended together with them, to a stream of their own', async () => {
      const { store, app } = await open();
      const result = await app.append('purse-1', [Paid(1), Paid(2)], {
        expected: 'no-stream',
        messages: [Mail('a'), Mail('b')],
        metadata: { correlationId: 'c' },
      });
      assert.deepEqual(await placesOf(store), [
        'purse-1 0 Paid',
        'purse-1 1 Paid',
        'message-purse-1 0 Mail',
        'message-purse-1 1 Mail',
      ]);
      const log = await logOf(store);
      assert.deepEqual(result, { stream: 'purse-1', revision: 1, position: log[3]?.position });
      assert.deepEqual(
        log.map(({ metadata }) => metadata.correlationId),
        ['c', 'c', 'c', 'c'],
      );
      await app.append('purse-1', [Paid(3)], { expected: 1, messages: [Mail('c')] });
      const mails = await app.streamEvents(messageStreamOf('purse-1')).toArray();
      assert.deepEqual(
        mails.map(({ data }) => data),
        [{ text: 'a' }, { text: 'b' }, { text: 'c' }],
      );
    });

    itCan('are appended without events too', async () => {
      const { store, app } = await open();
      const none = await app.append('purse-1', [], { messages: [Mail('a')] });
      assert.deepEqual(none, { stream: 'purse-1', revision: -1, position: await store.head() });
      await app.append('purse-1', [Paid(1)]);
      const one = await app.append('purse-1', [], { messages: [Mail('b')] });
      assert.deepEqual(one, { stream: 'purse-1', revision: 0, position: await store.head() });
      assert.deepEqual(await placesOf(store), [
        'message-purse-1 0 Mail',
        'purse-1 0 Paid',
        'message-purse-1 1 Mail',
      ]);
    });

    itCan('are not appended where their events are not', async () => {
      const { store, app } = await open();
      await failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
        app.append('purse-1', [Paid(1)], { expected: 3, messages: [Mail('a')] }),
      );
      await failure(UnknownEventTypeError, 'UNKNOWN_EVENT_TYPE', () =>
        app.append('purse-1', [Paid(1)], { messages: [Mail('a'), Undeclared()] }),
      );
      assert.isEmpty(await logOf(store));
    });

    itCan('never conflict, however many append at once', async () => {
      const { store, app } = await open();
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          app.append('purse-1', [Paid(index)], { messages: [Mail(`${index}`)] }),
        ),
      );
      const log = await logOf(store);
      assert.lengthOf(log, 40);
      for (let at = 0; at < log.length; at += 2) {
        const [event, message] = log.slice(at, at + 2);
        assert.deepEqual(message?.data, { text: String((event?.data as { amount: number }).amount) });
      }
    });

    itCan('go with what an aggregate records, whoever else appends', async () => {
      const { store, app } = await open();
      const purses = app.repository(Purse);
      await purses.create('1', (purse) => purse.execute(1), { messages: [Mail('welcome')] });
      let rival = true;
      await purses.update(
        '1',
        async (purse) => {
          if (rival) await app.append('purse-1', [Paid(10)]);
          rival = false;
          purse.execute(2);
        },
        { messages: ({ state }) => [Mail(`total ${state.total}`)] },
      );
      const loaded = await purses.load('1');
      loaded.execute(5);
      await purses.save(loaded, { messages: ({ state }) => [Mail(`total ${state.total}`)] });
      const mails = await app.events({ types: [Mail] }).toArray();
      assert.deepEqual(
        mails.map(({ data, stream }) => [stream, data.text]),
        [
          ['message-purse-1', 'welcome'],
          ['message-purse-1', 'total 13'],
          ['message-purse-1', 'total 18'],
        ],
      );
      assert.lengthOf(await logOf(store), 7);
    });

    itCan('are not sent where an aggregate records nothing, or throws', async () => {
      const { store, app } = await open();
      const purses = app.repository(Purse);
      await purses.create('1', (purse) => purse.execute(1));
      const messages = [Mail('a')];
      await purses.update('1', (purse) => purse.execute(0), { messages });
      const thrown = new Error('no');
      const throwing = (): never => {
        throw thrown;
      };
      assert.equal(await outcome(() => purses.update('1', throwing, { messages })), thrown);
      const saving = purses.update('1', (purse) => purse.execute(1), { messages: throwing });
      assert.equal(await outcome(() => saving), thrown);
      assert.lengthOf(await logOf(store), 1);
    });

    itCan(
      'are part of a transaction',
      async () => {
        const { store, app } = await open();
        const purses = app.repository(Purse);
        const failed = await outcome(() =>
          app.transaction(async (transaction) => {
            await app.append('purse-1', [Paid(1)], { transaction, messages: [Mail('a')] });
            throw new Error('undone');
          }),
        );
        assert.instanceOf(failed, Error);
        assert.isEmpty(await logOf(store));
        await app.transaction(async (transaction) => {
          await app.append('purse-1', [Paid(1)], { transaction, messages: [Mail('a')] });
          await purses.update('1', (purse) => purse.execute(2), { transaction, messages: [Mail('b')] });
        });
        assert.deepEqual(await placesOf(store), [
          'purse-1 0 Paid',
          'message-purse-1 0 Mail',
          'purse-1 1 Paid',
          'message-purse-1 1 Mail',
        ]);
      },
      ['transactions'],
    );

    itCan(
      'are seen by inline projections, which can undo the append',
      async () => {
        const store = await stores.open();
        const mails = documentProjection('mails', { mode: 'inline', initial: () => ({ texts: '' }) })
          .on(Mail, ({ texts }, { data }) => ({ texts: texts + data.text }), { key: () => 'all' })
          .on(
            Paid,
            (document, { data }) => {
              if (data.amount < 0) throw new Error('negative');
              return document;
            },
            { key: () => 'all' },
          );
        const app = createApplication({ store, projections: [mails], logger: silentLogger });
        await app.append('purse-1', [Paid(1)], { messages: [Mail('a'), Mail('b')] });
        await failure(InlineProjectionError, 'INLINE_PROJECTION', () =>
          app.append('purse-1', [Paid(-1)], { messages: [Mail('c')] }),
        );
        assert.deepEqual(await app.readModel(mails).get('all'), { texts: 'ab' });
        assert.lengthOf(await logOf(store), 3);
      },
      ['inline'],
    );

    itCan('are delivered like events, in the order of their stream', async () => {
      const store = await stores.open();
      const sent: string[] = [];
      const mailer = delivery('mailer').on(Mail, ({ data }) => void sent.push(data.text));
      const app = createApplication({
        store,
        events: [Paid],
        deliveries: [mailer],
        logger: silentLogger,
      });
      await app.append('purse-1', [Paid(1)], { messages: [Mail('a'), Mail('b')] });
      await app.append('purse-1', [], { messages: [Mail('c')] });
      await app.catchUp();
      assert.deepEqual(sent, ['a', 'b', 'c']);
    });
  });
}

async function placesOf(store: Store): Promise<string[]> {
  return (await logOf(store)).map(({ stream, revision, type }) => `${stream} ${revision} ${type}`);
}
