import { StoreBusyError } from '@refold/core';
import { sqliteStore } from '@refold/sqlite';
import { assert } from 'chai';
import type Database from 'better-sqlite3';
import { describe, it } from 'mocha';
import { failure, gate, logIds, newEvent, newEvents, streamIds, thrownBy, turns } from './expectations.js';
import { useFiles } from './files.js';

describe("waiting for another connection's write lock", () => {
  const files = useFiles();

  /** A connection of some other program that holds the write lock. */
  function holder(file: string): Database.Database {
    const database = files.connect(file);
    database.exec('begin immediate');
    return database;
  }

  it('leaves the event loop free, and the append succeeds after the release', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const other = holder(file);
    let settled = false;
    const appending = store.append('order-1', newEvents(2)).finally(() => (settled = true));
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    while (ticks < 20) await turns(1);
    clearInterval(timer);
    assert.isFalse(settled);
    assert.deepEqual(await logIds(store), []);
    other.exec('rollback');
    assert.equal((await appending).position, 2);
  });

  it('ends with StoreBusyError when it lasts too long: nothing is written and the store goes on', async () => {
    const file = files.fresh();
    const store = await files.open(file, { lockTimeoutMs: 30 });
    const other = holder(file);
    const calls = [
      () => store.append('order-1', [newEvent()]),
      () => store.appendAll([{ stream: 'order-2', events: [newEvent()] }]),
      () => store.transaction(() => Promise.resolve()),
      () => store.saveSnapshot({ stream: 'order-1', revision: 0, version: 1, state: {} }),
      () => store.createGeneration('totals', { version: 1, collections: [] }),
    ];
    for (const call of calls) {
      const error = await failure(StoreBusyError, 'STORE_BUSY', call);
      assert.isAtLeast(error.waitedMs, 30);
      assert.include(error.message, `${error.waitedMs} ms`);
      assert.propertyVal(error.cause, 'code', 'SQLITE_BUSY');
    }
    other.exec('rollback');
    assert.deepEqual(await logIds(store), []);
    assert.deepEqual(await store.generations('totals'), []);
    assert.isUndefined(await store.loadSnapshot('order-1'));
    assert.equal((await store.append('order-1', [newEvent()])).position, 1);
  });

  it('refuses the whole group alike, and every caller is told', async () => {
    const file = files.fresh();
    const store = await files.open(file, { lockTimeoutMs: 10 });
    const other = holder(file);
    const outcomes = await Promise.allSettled(
      newEvents(5).map((event, index) => store.append(`order-${index}`, [event])),
    );
    for (const outcome of outcomes) {
      assert.equal(outcome.status, 'rejected');
      if (outcome.status === 'rejected') assert.instanceOf(outcome.reason, StoreBusyError);
    }
    other.exec('rollback');
    assert.deepEqual(await logIds(store), []);
  });

  it('holds up opening no longer than the lock is held, or than the limit', async () => {
    const file = files.fresh();
    const other = holder(file);
    const error = await failure(StoreBusyError, 'STORE_BUSY', () => sqliteStore(file, { lockTimeoutMs: 20 }));
    assert.isAtLeast(error.waitedMs, 20);
    const opening = files.open(file);
    await turns(20);
    other.exec('rollback');
    assert.equal(await (await opening).head(), 0);
  });

  it('is not for readers: they see what is committed while another connection writes', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const event = newEvent();
    await store.append('order-1', [event]);
    await store.saveSnapshot({ stream: 'order-1', revision: 0, version: 1, state: 'kept' });
    const other = holder(file);
    other.exec('update refold_snapshots set state = \'"changed"\'');
    assert.deepEqual(await logIds(store), [event.id]);
    assert.deepEqual(await streamIds(store, 'order-1'), [event.id]);
    assert.equal(await store.head(), 1);
    assert.equal(await store.changes(0), 1);
    assert.equal((await store.loadSnapshot('order-1'))?.state, 'kept');
    assert.deepEqual(await store.generations('totals'), []);
    assert.deepEqual(await store.partitions(), []);
  });

  it("is not for readers: nor while the store's own transaction awaits", async () => {
    const store = await files.open();
    const [begun, ended] = [gate(), gate()];
    const generation = await store.createGeneration('totals', {
      version: 1,
      collections: [{ name: 'totals', kind: 'documents' }],
    });
    const writing = store.transaction(async (unit) => {
      await unit.documents('totals', generation.generation).putMany(new Map([['a', 1]]));
      begun.open();
      await ended.opened;
    });
    await begun.opened;
    assert.equal(await store.head(), 0);
    assert.equal(await store.documents('totals').count(), 0);
    ended.open();
    await writing;
    assert.equal(await store.documents('totals').count(), 1);
  });
});

describe('waiting for changes', () => {
  const files = useFiles();

  it('ends as soon as another program has appended', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const waiting = store.changes(0);
    const { id } = newEvent();
    files
      .connect(file)
      .prepare(
        `insert into refold_events (position, stream, revision, id, type, version, recorded_at, data)
         values (1, 'order-1', 0, ?, 'Happened', 1, 0, '{}')`,
      )
      .run(id);
    assert.equal(await waiting, 1);
    assert.deepEqual(await logIds(store), [id]);
  });

  it('ends with the error when the log cannot be looked at any more', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const waiting = Promise.all([0, 5].map((after) => thrownBy(() => store.changes(after))));
    files.connect(file).exec('drop table refold_events');
    for (const error of await waiting) assert.match(String(error), /no such table: refold_events/);
  });
});

describe('a transaction that awaits', () => {
  const files = useFiles();

  it("never swallows another caller's writes: its rollback undoes only its own", async () => {
    const store = await files.open();
    const [begun, ended] = [gate(), gate()];
    const generation = await store.createGeneration('totals', {
      version: 1,
      collections: [{ name: 'totals', kind: 'documents' }],
    });
    const failed = new Error('on purpose');
    const writing = store
      .transaction(async (unit) => {
        await unit.documents('totals', generation.generation).putMany(new Map([['a', 1]]));
        begun.open();
        await ended.opened;
        throw failed;
      })
      .catch((error: unknown) => error);
    await begun.opened;
    const event = newEvent();
    const others = [
      store.append('order-1', [event]),
      store.saveSnapshot({ stream: 'order-1', revision: 0, version: 1, state: 'mine' }),
      store.acquireLease({ ...generation, firstSlice: 0 }, { holder: 'me', ttlMs: 60_000 }),
    ];
    await turns(20);
    assert.deepEqual(await logIds(store), []);
    ended.open();
    assert.equal(await writing, failed);
    await Promise.all(others);
    assert.deepEqual(await logIds(store), [event.id]);
    assert.equal((await store.loadSnapshot('order-1'))?.state, 'mine');
    assert.equal((await store.partitions())[0]?.holder, 'me');
    assert.equal(await store.documents('totals').count(), 0);
  });

  it('keeps its own writes apart from those of an append whose inline hook fails meanwhile', async () => {
    const store = await files.open();
    await store.transaction(async (unit) => {
      unit.run('create table notes (text text)');
    });
    const ended = gate();
    const appending = store
      .append('order-1', [newEvent()], {
        inline: async (_events, unit) => {
          unit.run("insert into notes values ('undone')");
          await ended.opened;
          throw new Error('on purpose');
        },
      })
      .catch(() => 'failed');
    const writing = store.transaction(async (unit) => unit.run("insert into notes values ('kept')"));
    await turns(20);
    ended.open();
    assert.equal(await appending, 'failed');
    await writing;
    assert.deepEqual(await store.transaction(async (unit) => unit.all('select text from notes')), [
      { text: 'kept' },
    ]);
    assert.deepEqual(await logIds(store), []);
  });
});
