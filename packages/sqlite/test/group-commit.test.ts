import { DuplicateEventError, RevisionConflictError } from '@refold/core';
import { DiskFullError, type SqliteStore } from '@refold/sqlite';
import { assert } from 'chai';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { failure, logIds, newEvent, newEvents, thrownBy } from './expectations.js';
import { useFiles } from './files.js';

describe('group commit', () => {
  const files = useFiles();

  it('lets 100 concurrent appends share few transactions', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const before = commits(file);
    await Promise.all(newEvents(100).map((event, index) => store.append(`order-${index}`, [event])));
    const together = commits(file) - before;
    assert.isAtLeast(together, 1);
    assert.isAtMost(together, 3);
    for (const event of newEvents(5)) await store.append('order-alone', [event]);
    assert.equal(commits(file) - before - together, 5, 'one after the other, each has its own');
  });

  it('fails one conflicting append alone', async () => {
    const store = await files.open();
    await store.append('order-1', [newEvent()]);
    const good = newEvents(10);
    const appends = good.map((event, index) => store.append(`order-${index + 2}`, [event]));
    const conflicting = failure(RevisionConflictError, 'REVISION_CONFLICT', () =>
      store.append('order-1', newEvents(2), { expected: 'no-stream' }),
    );
    const more = newEvents(10);
    appends.push(...more.map((event, index) => store.append(`order-${index + 2}`, [event], { expected: 0 })));
    const error = await conflicting;
    assert.deepInclude({ ...error }, { stream: 'order-1', expected: 'no-stream', actual: 0 });
    assert.deepEqual(
      (await Promise.all(appends)).map(({ position }) => position),
      Array.from({ length: 20 }, (_, index) => index + 2),
    );
    assert.deepEqual(
      (await logIds(store)).slice(1),
      [...good, ...more].map(({ id }) => id),
    );
  });

  it('fails a taken id alone, whether it was taken before or in the same group', async () => {
    const store = await files.open();
    const [before, within] = newEvents(2) as [ReturnType<typeof newEvent>, ReturnType<typeof newEvent>];
    await store.append('order-1', [before]);
    const outcomes = await Promise.allSettled([
      store.append('order-2', [within]),
      store.append('order-3', [before]),
      store.append('order-4', [newEvent(), within, newEvent()]),
      store.append('order-5', [newEvent()]),
      store.append('order-2', [within]),
    ]);
    assert.deepEqual(
      outcomes.map((one) => (one.status === 'fulfilled' ? one.value.position : (one.reason as Error).name)),
      [2, DuplicateEventError.name, DuplicateEventError.name, 3, 2],
    );
    assert.equal(await store.head(), 3);
  });

  it('undoes the append alone whose inline hook throws, with what the hook wrote', async () => {
    const store = await files.open();
    await createNotes(store);
    const failed = new Error('on purpose');
    const [first, bad, last] = await Promise.allSettled([
      store.append('order-1', newEvents(2), {
        inline: async (_, unit) => void unit.run("insert into notes values ('first')"),
      }),
      store.append('order-2', newEvents(2), {
        inline: async (_, unit) => {
          unit.run("insert into notes values ('bad')");
          throw failed;
        },
      }),
      store.append('order-3', [newEvent()], {
        inline: async (_, unit) => void unit.run("insert into notes values ('last')"),
      }),
    ]);
    assert.equal(first.status, 'fulfilled');
    assert.deepEqual(bad, { status: 'rejected', reason: failed });
    assert.equal(last.status === 'fulfilled' && last.value.position, 3);
    assert.deepEqual(await notes(store), ['first', 'last']);
  });

  it('undoes the append alone whose inline hook makes SQLite undo the whole transaction', async () => {
    const store = await files.open();
    await createNotes(store);
    const rollback = "insert or rollback into notes values ('taken'), ('taken')";
    const outcomes = await Promise.allSettled([
      store.append('order-1', [newEvent()]),
      store.append('order-2', newEvents(2), { inline: async (_, unit) => void unit.run(rollback) }),
      store.append('order-3', [newEvent()], {
        inline: async (_, unit) => {
          await thrownBy(() => unit.run(rollback));
          await thrownBy(() => unit.run("insert into notes values ('outside')"));
        },
      }),
      store.append('order-4', [newEvent()]),
    ]);
    assert.deepEqual(
      outcomes.map((one) =>
        one.status === 'fulfilled' ? one.value.position : (one.reason as { code: string }).code,
      ),
      [1, 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_TRANSACTION_UNDONE', 2],
    );
    assert.equal(await store.head(), 2);
    assert.deepEqual(await notes(store), []);
  });

  it('says of every append whether it is written when the disk is full, and goes on when it no longer is', async () => {
    const store = await files.open();
    await allowPages(store, 60);
    const large = newEvents(40, { data: 'x'.repeat(20_000) });
    const outcomes = await Promise.allSettled(
      large.map((event, index) => store.append(`order-${index}`, [event])),
    );
    const written = large.filter((_, index) => outcomes[index]?.status === 'fulfilled').map(({ id }) => id);
    assert.deepEqual(await logIds(store), written);
    assert.isNotEmpty(written);
    const refused = outcomes.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
    assert.isNotEmpty(refused);
    for (const error of refused) assert.instanceOf(error, DiskFullError);
    await allowPages(store, 1_000_000);
    await store.append('order-more', large.slice(-1));
    assert.equal(await store.head(), written.length + 1);
  });
});

/** Lets the connection that writes use so many pages: SQLite then says what it says of a full disk. */
async function allowPages(store: SqliteStore, pages: number): Promise<void> {
  await store.transaction(async (unit) => unit.get(`pragma max_page_count = ${pages}`));
}

async function createNotes(store: SqliteStore): Promise<void> {
  await store.transaction(async (unit) => unit.run('create table notes (text text unique)'));
}

async function notes(store: SqliteStore): Promise<unknown[]> {
  const rows = await store.transaction(async (unit) => unit.all('select text from notes order by text'));
  return rows.map(({ text }) => text);
}

/**
 * The transactions in the write-ahead log: the frames that end one carry the size of the database.
 * Format: https://www.sqlite.org/fileformat2.html#walformat
 */
function commits(file: string): number {
  const log = readFileSync(`${file}-wal`);
  const frame = 24 + log.readUInt32BE(8);
  let count = 0;
  for (let at = 32; at + frame <= log.length; at += frame) {
    const current = log.compare(log, 16, 24, at + 8, at + 16) === 0;
    if (current && log.readUInt32BE(at + 4) > 0) count += 1;
  }
  return count;
}
