import {
  createApplication,
  delivery,
  InvalidArgumentError,
  messageStreamOf,
  silentLogger,
  systemClock,
  type Application,
  type Clock,
  type Delivery,
  type RecordedEvent,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import { failure, logOf, outcome, until } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import { Mail, Paid } from './messages.js';

/** An hour from now: everything that a test appends is old. */
const later: Clock = { ...systemClock, now: () => Date.now() + 3_600_000 };
const OLD = { olderThanMs: 60_000 };

/** Old messages, out of the hot path. */
export function describeMessageArchive(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>): void =>
    itNeeds(harness, ['multiStreamAppend', 'archiving'], title, body);

  describe('archiveMessages', () => {
    const stores = useStores(harness);
    const application = (store: Store, ...deliveries: Delivery[]): Application =>
      createApplication({ store, events: [Paid, Mail], deliveries, logger: silentLogger, clock: later });

    itCan('moves the messages that are delivered and old, and loses none', async () => {
      const store = await stores.open();
      const app = application(store, mailer());
      await append(app, ['1', '2', '1', '3', '1']);
      await app.catchUp();
      const log = await logOf(store);
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 5, owedBy: undefined });
      assert.deepEqual(await hotTexts(store, ['1', '2', '3']), []);
      assert.deepEqual(await logOf(store), log);
      assert.lengthOf(await store.readStream('purse-1').toArray(), 3);
      await append(app, ['1']);
      const [message] = await store.readStream(messageStreamOf('purse-1')).toArray();
      assert.equal(message?.revision, 3);
    });

    itCan('goes on where it was', async () => {
      const store = await stores.open();
      const app = application(store);
      await append(app, ['1', '2']);
      assert.equal((await app.archiveMessages(OLD)).archived, 2);
      const before = await store.head();
      assert.equal((await app.archiveMessages(OLD)).archived, 0);
      await append(app, ['1', '2', '2']);
      const read: number[] = [];
      const watched = application(watching(store, ({ position }) => read.push(position)));
      assert.equal((await watched.archiveMessages(OLD)).archived, 3);
      assert.lengthOf(read, 3);
      assert.isAbove(Math.min(...read), before);
    });

    itCan('leaves messages that are too young', async () => {
      const store = await stores.open();
      const app = application(store);
      await append(app, ['1', '2']);
      const young = { olderThanMs: 7_200_000 };
      assert.deepEqual(await app.archiveMessages(young), { archived: 0, owedBy: undefined });
      assert.deepEqual(await hotTexts(store, ['1', '2']), ['1-0', '2-1']);
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 2, owedBy: undefined });
      await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
        app.archiveMessages({ olderThanMs: Number.NaN }),
      );
    });

    itCan('leaves messages that any processor still owes, one that has not begun included', async () => {
      const store = await stores.open();
      const [first, second] = [mailer('first'), mailer('second')];
      const app = application(store, first, second);
      await append(app, ['1']);
      assert.equal((await app.archiveMessages(OLD)).archived, 0);
      await app.catchUp();
      await append(app, ['1', '2']);
      await app.worker({ processors: [first] }).catchUp();
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 1, owedBy: 'second' });
      assert.deepEqual(await hotTexts(store, ['1', '2']), ['1-0', '2-1']);
      // Nor do other applications on the same store see their messages go.
      assert.deepEqual(await application(store).archiveMessages(OLD), { archived: 0, owedBy: 'second' });
      await app.catchUp();
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 2, owedBy: undefined });
    });

    itCan('leaves dead letters, what is behind them in their stream, and nothing else', async () => {
      const store = await stores.open();
      const broken = new Set(['1-1', '3-4']);
      const app = application(store, mailer('mailer', broken));
      await append(app, ['1', '1', '2', '1', '3', '2']);
      await app.catchUp();
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 3, owedBy: 'mailer' });
      assert.deepEqual(await hotTexts(store, ['1', '2', '3']), ['1-1', '1-3', '3-4']);
      await append(app, ['2', '1']);
      await app.catchUp();
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 1, owedBy: 'mailer' });
      assert.deepEqual(await hotTexts(store, ['1', '2', '3']), ['1-1', '1-3', '1-1', '3-4']);
      const { deadLetters } = app.processor('mailer');
      await deadLetters.discard({ sequence: messageStreamOf('purse-3') }, 'nobody reads it');
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 1, owedBy: 'mailer' });
      broken.clear();
      await deadLetters.retry();
      await until(async () => {
        await app.catchUp();
        return (await deadLetters.count()) === 0;
      });
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 3, owedBy: undefined });
      assert.deepEqual(await hotTexts(store, ['1', '2', '3']), []);
    });

    itCan('leaves what is delivered behind a dead letter of its stream, in another sequence', async () => {
      const store = await stores.open();
      const app = application(
        store,
        mailer('mailer', new Set(['1-1']), ({ id }) => id),
      );
      await append(app, ['1', '1', '1', '2']);
      await app.catchUp();
      assert.equal(await app.processor('mailer').deadLetters.count(), 1);
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 2, owedBy: 'mailer' });
      assert.deepEqual(await hotTexts(store, ['1', '2']), ['1-1', '1-2']);
      await app.processor('mailer').deadLetters.discard({}, 'nobody reads it');
      assert.deepEqual(await app.archiveMessages(OLD), { archived: 2, owedBy: undefined });
    });

    itCan(
      'moves many messages in batches, and goes on behind those that were moved when it is aborted',
      async () => {
        const store = await stores.open();
        const app = application(store);
        for (let index = 0; index < 6; index++) {
          const messages = Array.from({ length: 200 }, (_, at) => Mail(`${index}-${at}`));
          await app.append(`purse-${index % 2}`, [], { messages });
        }
        const controller = new AbortController();
        let truncated = 0;
        const watched = watching(
          store,
          () => {},
          (count) => {
            truncated += count;
            controller.abort(new Error('enough'));
          },
        );
        const aborted = await outcome(() =>
          application(watched).archiveMessages({ ...OLD, signal: controller.signal }),
        );
        assert.propertyVal(aborted, 'message', 'enough');
        assert.isAbove(truncated, 0);
        assert.isBelow(truncated, 1200);
        assert.equal((await app.archiveMessages(OLD)).archived + truncated, 1200);
      },
    );

    itCan('counts every message once when it is called several times at once', async () => {
      const store = await stores.open();
      const app = application(store, mailer());
      await append(app, ['1', '2', '3', '1']);
      await app.catchUp();
      const results = await Promise.all([1, 2, 3].map(() => app.archiveMessages(OLD)));
      assert.equal(
        results.reduce((sum, { archived }) => sum + archived, 0),
        4,
      );
    });
  });
}

/** Sends mails, but for those whose texts are broken. */
function mailer(
  name = 'mailer',
  broken: ReadonlySet<string> = new Set(),
  sequence?: (event: RecordedEvent) => string,
): Delivery {
  return delivery(name, { sequence, retry: { maxAttempts: 1, firstDelayMs: 1, maxDelayMs: 1 } }).on(
    Mail,
    ({ data }) => {
      if (broken.has(data.text)) throw new Error('broken');
    },
  );
}

/** For each purse an event with a mail, which has the purse and the place for its text. */
async function append(app: Application, purses: readonly string[]): Promise<void> {
  for (const [index, purse] of purses.entries()) {
    await app.append(`purse-${purse}`, [Paid(1)], { messages: [Mail(`${purse}-${index}`)] });
  }
}

/** The texts of the messages that are not archived. */
async function hotTexts(store: Store, purses: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  for (const purse of purses) {
    const messages = await store.readStream(messageStreamOf(`purse-${purse}`)).toArray();
    texts.push(...messages.map(({ data }) => (data as { text: string }).text));
  }
  return texts;
}

/** The same store, which tells of every event that is read from the log, and of how many are moved. */
function watching(
  store: Store,
  onRead: (event: RecordedEvent) => unknown,
  onTruncated: (count: number) => void = () => {},
): Store {
  const readAll: Store['readAll'] = (options) =>
    store.readAll(options).map((batch) => {
      batch.events.forEach(onRead);
      return batch;
    });
  const truncateStream: Store['truncateStream'] = async (stream, options) => {
    const count = await store.truncateStream(stream, options);
    onTruncated(count);
    return count;
  };
  const own = { readAll, truncateStream };
  return new Proxy(store, {
    get(target, name) {
      const found: unknown = Reflect.get(name in own ? own : target, name);
      return typeof found === 'function' ? (found.bind(target) as unknown) : found;
    },
  });
}
