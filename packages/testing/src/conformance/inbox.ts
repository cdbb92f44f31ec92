import {
  createInbox,
  InvalidArgumentError,
  NestedTransactionError,
  silentLogger,
  TransactionEndedError,
  type Inbox,
  type InboxMessage,
  type InboxOptions,
  type StateStore,
  type StateUnit,
} from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, gate, outcome, until } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import { COUNTERS, createCounting, visible } from './read-models.js';

/** Messages whose effects are to happen once. */
export function describeInbox(harness: StoreHarness<StateStore>): void {
  describe('an inbox', () => {
    const stores = useStores(harness);
    const open = async (options?: InboxOptions): Promise<{ store: StateStore; inbox: Inbox }> => {
      const store = await stores.open();
      await createCounting(store);
      return { store, inbox: inboxOf(store, options) };
    };

    it('does the work of a message once, and tells the repeats', async () => {
      const { store, inbox } = await open();
      assert.deepEqual(await inbox.once({ id: 'm1' }, counting('a')), { duplicate: false, result: 1 });
      assert.deepEqual(await inbox.once({ id: 'm1' }, counting('a')), { duplicate: true });
      assert.deepEqual(await inbox.once({ id: 'm2' }, counting('a')), { duplicate: false, result: 2 });
      assert.deepEqual(await inbox.once({ id: 'm1' }, counting('b')), { duplicate: true });
      assert.deepEqual(await visible(store), [['a', 2]]);
    });

    it('remembers nothing of a message whose work fails, nor any of its effects', async () => {
      const { store, inbox } = await open();
      const reason = new Error('not now');
      const failing = async (unit: StateUnit): Promise<never> => {
        await counting('a')(unit);
        throw reason;
      };
      assert.equal(await outcome(() => inbox.once({ id: 'm1' }, failing)), reason);
      assert.deepEqual(await visible(store), []);
      assert.deepEqual(await inbox.once({ id: 'm1' }, counting('a')), { duplicate: false, result: 1 });
      assert.deepEqual(await inbox.once({ id: 'm1' }, failing), { duplicate: true });
    });

    it('compares ids letter by letter within a source, and forgets none when it is made anew', async () => {
      const { store, inbox } = await open();
      const messages: InboxMessage[] = [
        { id: 'm1' },
        { id: 'M1' },
        { id: 'm1', source: 'shop' },
        { id: 'm1', source: '/Shop' },
        { id: 'm1 ' },
        { id: "it's 💥 „ä“" },
        { id: 'x'.repeat(256), source: '💥'.repeat(128) },
      ];
      for (const message of messages) assert.isFalse((await inbox.once(message, nothing)).duplicate);
      const again = inboxOf(store);
      for (const message of messages) assert.isTrue((await again.once(message, nothing)).duplicate);
      const other = createInbox(store, 'another', { logger: silentLogger });
      assert.isFalse((await other.once({ id: 'm1' }, nothing)).duplicate);
    });

    it('by sequence, takes only what is beyond the greatest of its source and key', async () => {
      const { inbox } = await open({ dedupeBy: 'sequence' });
      const told = async (message: InboxMessage): Promise<boolean> =>
        (await inbox.once(message, nothing)).duplicate;
      assert.isFalse(await told({ sequence: 9, key: 'a', source: 's' }));
      assert.isTrue(await told({ sequence: 9, key: 'a', source: 's' }));
      assert.isTrue(await told({ sequence: 8, key: 'a', source: 's' }));
      assert.isFalse(await told({ sequence: 10, key: 'a', source: 's' }));
      assert.isTrue(await told({ sequence: 9n, key: 'a', source: 's' }));
      assert.isFalse(await told({ sequence: 100n, key: 'a', source: 's' }));
      assert.isFalse(await told({ sequence: Number.MAX_SAFE_INTEGER, key: 'a', source: 's' }));
      assert.isFalse(await told({ sequence: 0, key: 'b', source: 's' }));
      assert.isFalse(await told({ sequence: 1, key: 'a', source: 't' }));
      assert.isFalse(await told({ sequence: 1 }));
      assert.isTrue(await told({ sequence: 0, key: '', source: '' }));
    });

    it('by sequence, compares text by code points', async () => {
      const { inbox } = await open({ dedupeBy: 'sequence' });
      const growing = [
        '0000000000000042',
        '0000000000000042.0001',
        '0000000000000043',
        'A',
        'B',
        'a',
        'ab',
        'ä',
        '\uffff',
        '💥',
      ];
      for (const sequence of growing) {
        assert.isFalse((await inbox.once({ sequence }, nothing)).duplicate, sequence);
      }
      for (const sequence of growing) {
        assert.isTrue((await inbox.once({ sequence }, nothing)).duplicate, sequence);
      }
      assert.isFalse((await inbox.once({ key: 'k', sequence: '0000000000000007' }, nothing)).duplicate);
      assert.isTrue((await inbox.once({ key: 'k', sequence: 7 }, nothing)).duplicate);
      assert.isFalse((await inbox.once({ key: 'k', sequence: 8 }, nothing)).duplicate);
    });

    it('by sequence, is where it was after work that failed', async () => {
      const { store, inbox } = await open({ dedupeBy: 'sequence' });
      await inbox.once({ sequence: 1 }, counting('a'));
      const failed = await outcome(() => inbox.once({ sequence: 2 }, () => Promise.reject(new Error('no'))));
      assert.instanceOf(failed, Error);
      assert.isFalse((await inbox.once({ sequence: 2 }, counting('a'))).duplicate);
      assert.deepEqual(await visible(store), [['a', 2]]);
    });

    it('refuses messages that lack what it goes by, before any work', async () => {
      const { store, inbox } = await open();
      const bySequence = createInbox(store, 'in order', { dedupeBy: 'sequence' });
      const refused: [Inbox, InboxMessage, string][] = [
        [inbox, {}, 'id'],
        [inbox, { id: '' }, 'id'],
        [inbox, { id: 'x'.repeat(257) }, 'id'],
        [inbox, { id: 'a\u0000' }, 'id'],
        [inbox, { id: 'a', source: '\ud800' }, 'source'],
        [bySequence, { id: 'a' }, 'sequence'],
        [bySequence, { sequence: -1 }, 'sequence'],
        [bySequence, { sequence: 1.5 }, 'sequence'],
        [bySequence, { sequence: 2n ** 53n }, 'sequence'],
        [bySequence, { sequence: '10' }, 'sequence'],
        [bySequence, { sequence: 1, key: 'x'.repeat(257) }, 'key'],
      ];
      for (const [one, message, argument] of refused) {
        const error = await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () =>
          one.once(message, () => assert.fail('it worked')),
        );
        assert.include(error.argument, argument);
      }
    });

    it('begins no transaction inside another', async () => {
      const { store, inbox } = await open();
      await store.transaction(async () => {
        await failure(NestedTransactionError, 'NESTED_TRANSACTION', () => inbox.once({ id: 'm' }, nothing));
      });
      assert.isFalse((await inbox.once({ id: 'm' }, nothing)).duplicate);
      let kept: StateUnit | undefined;
      await inbox.once({ id: 'n' }, async (unit) => void (kept = unit));
      const late = { inbox: 'x', source: '', id: 'x' };
      await failure(TransactionEndedError, 'TRANSACTION_ENDED', () => kept?.receive(late));
    });

    it('forgets what is older than the retention, and nothing else', async () => {
      const { store, inbox } = await open();
      const brief = createInbox(store, 'brief', { retentionMs: 1, logger: silentLogger });
      const order = createInbox(store, 'order', { dedupeBy: 'sequence', retentionMs: 1 });
      for (const id of ['m1', 'm2']) {
        await inbox.once({ id }, nothing);
        await brief.once({ id }, nothing);
      }
      await order.once({ sequence: 5 }, nothing);
      await until(async () => (await order.forget()) === 1);
      let forgotten = 0;
      await until(async () => (forgotten += await brief.forget()) >= 1);
      await until(async () => {
        await brief.forget();
        return !(await brief.once({ id: 'm2' }, nothing)).duplicate;
      });
      assert.isFalse((await order.once({ sequence: 4 }, nothing)).duplicate);
      assert.equal(await inbox.forget(), 0);
      assert.isTrue((await inbox.once({ id: 'm1' }, nothing)).duplicate);
    });

    it('forgets in steps of a given size, the oldest first', async () => {
      const { store } = await open();
      for (let index = 0; index < 5; index++) {
        await store.transaction((unit) => unit.receive({ inbox: 'i', source: '', id: `m${index}` }));
        if (index === 2) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const all = { olderThanMs: -60_000, limit: 3 };
      assert.equal(await store.forgetReceived('another', all), 0);
      assert.equal(await store.forgetReceived('i', all), 3);
      const known = (id: string) =>
        store.transaction(async (unit) => !(await unit.receive({ inbox: 'i', source: '', id })));
      assert.isTrue(await known('m4'));
      assert.isTrue(await known('m3'));
      assert.isFalse(await known('m0'));
      assert.equal(await store.forgetReceived('i', { olderThanMs: 60_000, limit: 10 }), 0);
    });

    it('forgets while it works, without being told', async () => {
      const { store } = await open();
      const brief = createInbox(store, 'brief', { retentionMs: 1, logger: silentLogger });
      let count = 0;
      const first = (): Promise<{ duplicate: boolean }> => brief.once({ id: 'first' }, nothing);
      assert.isFalse((await first()).duplicate);
      await until(async () => {
        for (let times = 0; times < 100; times++) await brief.once({ id: `m${count++}` }, nothing);
        return !(await first()).duplicate;
      });
    });

    it('does the work of one message once for many callers at once', async () => {
      const { store, inbox } = await open();
      // Read and written by the work of one message only: different ones may be at work at once.
      const all = Array.from({ length: 12 }, (_, index) =>
        inbox.once({ id: `m${index % 3}` }, counting(`m${index % 3}`)),
      );
      const done = (await Promise.all(all)).filter(({ duplicate }) => !duplicate);
      assert.lengthOf(done, 3);
      assert.deepEqual(await visible(store), [
        ['m0', 1],
        ['m1', 1],
        ['m2', 1],
      ]);
    });

    for (const dedupeBy of ['id', 'sequence'] as const) {
      const message = { id: 'm', sequence: 7 };
      itNeeds(
        harness,
        'instances',
        `by ${dedupeBy}, waits for another instance at work, and finds a repeat`,
        async () => {
          const { store, inbox } = await open({ dedupeBy });
          const other = inboxOf(await stores.another(store), { dedupeBy });
          const [begun, released] = [gate(), gate()];
          const first = inbox.once(message, async (unit) => {
            begun.open();
            await released.opened;
            return counting('a')(unit);
          });
          await begun.opened;
          const second = other.once(message, counting('a'));
          released.open();
          assert.deepEqual(await first, { duplicate: false, result: 1 });
          assert.deepEqual(await second, { duplicate: true });
          assert.deepEqual(await visible(store), [['a', 1]]);
        },
      );

      itNeeds(
        harness,
        'instances',
        `by ${dedupeBy}, does the work that failed on another instance`,
        async () => {
          const { store, inbox } = await open({ dedupeBy });
          const other = inboxOf(await stores.another(store), { dedupeBy });
          const [begun, released] = [gate(), gate()];
          const first = outcome(() =>
            inbox.once(message, async (unit) => {
              await counting('a')(unit);
              begun.open();
              await released.opened;
              throw new Error('not here');
            }),
          );
          await begun.opened;
          const second = other.once(message, counting('a'));
          released.open();
          assert.instanceOf(await first, Error);
          assert.deepEqual(await second, { duplicate: false, result: 1 });
          assert.deepEqual(await visible(store), [['a', 1]]);
        },
      );
    }
  });
}

/** The inbox that the tests use. */
export function inboxOf(store: StateStore, options: InboxOptions = {}): Inbox {
  return createInbox(store, 'messages', { logger: silentLogger, ...options });
}

/** Work that counts itself in a document of the first generation, and returns the count. */
export function counting(key: string): (unit: StateUnit) => Promise<number> {
  return async (unit) => {
    const documents = unit.documents(COUNTERS, 1);
    const count = Number((await documents.getMany([key])).get(key) ?? 0) + 1;
    await documents.putMany(new Map([[key, count]]));
    return count;
  };
}

async function nothing(): Promise<void> {}
