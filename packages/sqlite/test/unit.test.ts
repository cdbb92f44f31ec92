import { InvalidArgumentError, TransactionEndedError } from '@refold/core';
import { DiskFullError, TransactionUndoneError, type SqliteStore, type SqliteUnit } from '@refold/sqlite';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure, newEvent, newEvents, thrownBy } from './expectations.js';
import { useFiles } from './files.js';

describe("a transaction's SQL", () => {
  const files = useFiles();

  async function withNotes(): Promise<SqliteStore> {
    const store = await files.open();
    await store.transaction(async (unit) => unit.run('create table notes (text text unique)'));
    return store;
  }

  function notes(store: SqliteStore): Promise<unknown[]> {
    return store.transaction(async (unit) => unit.all('select text from notes').map(({ text }) => text));
  }

  it('sees what it has written, and says how many rows a statement changed', async () => {
    const store = await withNotes();
    await store.transaction(async (unit) => {
      assert.deepEqual(unit.run('insert into notes values (?), (?)', 'a', 'b'), { changes: 2 });
      assert.deepEqual(unit.all('select text from notes order by text'), [{ text: 'a' }, { text: 'b' }]);
      assert.deepEqual(unit.get('select text from notes where text = ?', 'b'), { text: 'b' });
      assert.isUndefined(unit.get('select text from notes where text = ?', 'c'));
    });
    assert.deepEqual(await notes(store), ['a', 'b']);
  });

  it('undoes everything when the callback throws what SQLite refused', async () => {
    const store = await withNotes();
    const error = await thrownBy(() =>
      store.transaction(async (unit) => {
        unit.run("insert into notes values ('a')");
        unit.run("insert into notes values ('a')");
      }),
    );
    assert.propertyVal(error, 'code', 'SQLITE_CONSTRAINT_UNIQUE');
    assert.deepEqual(await notes(store), []);
  });

  const controls = [
    'commit',
    '  COMMIT',
    'end',
    'rollback',
    'begin immediate',
    'savepoint mine',
    'release mine',
    "attach 'other.db' as other",
    'vacuum',
    ';commit',
    '/* a comment */ commit',
    '-- a comment\n-- and another\ncommit',
    '/* one */ ; -- two\n /**/ rollback',
  ];
  for (const sql of controls) {
    it(`cannot begin or end a transaction: ${JSON.stringify(sql)}`, async () => {
      const store = await withNotes();
      const undone = new Error('on purpose');
      const error = await thrownBy(() =>
        store.transaction(async (unit) => {
          unit.run("insert into notes values ('undone')");
          for (const call of ['run', 'get', 'all'] as const) {
            const refused = await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => unit[call](sql));
            assert.include({ ...refused }, { argument: 'sql', value: sql });
          }
          throw undone;
        }),
      );
      assert.equal(error, undone);
      assert.deepEqual(await notes(store), []);
    });
  }

  it('is refused once SQLite has undone the transaction, or it would be committed alone', async () => {
    const store = await withNotes();
    const calls: ((unit: SqliteUnit) => unknown)[] = [
      (unit) => unit.run("insert into notes values ('after')"),
      (unit) => unit.get('select 1'),
      (unit) => unit.activate('shop', 1),
    ];
    const error = await failure(TransactionUndoneError, 'SQLITE_TRANSACTION_UNDONE', () =>
      store.transaction(async (unit) => {
        unit.run("insert into notes values ('before')");
        await thrownBy(() => unit.run("insert or rollback into notes values ('before')"));
        for (const call of calls) {
          await failure(TransactionUndoneError, 'SQLITE_TRANSACTION_UNDONE', () => call(unit));
        }
      }),
    );
    assert.include(error.message, 'nothing of it was written');
    assert.deepEqual(await notes(store), []);
    assert.equal((await store.append('order-1', [newEvent()])).position, 1);
  });

  it('is refused when the transaction has ended', async () => {
    const store = await withNotes();
    const unit = await store.transaction((kept) => Promise.resolve(kept));
    for (const call of [
      () => unit.run("insert into notes values ('late')"),
      () => unit.get('select 1'),
      () => unit.all('select 1'),
      () => unit.readAll().toArray(),
      () => unit.documents('totals', 1).getMany(['a']),
    ]) {
      await failure(TransactionEndedError, 'TRANSACTION_ENDED', call);
    }
    assert.deepEqual(await notes(store), []);
  });

  it('ends with DiskFullError when the disk is full, and nothing of it is written', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    await store.transaction(async (unit) => unit.run('create table notes (text text unique)'));
    const error = await failure(DiskFullError, 'SQLITE_DISK_FULL', () =>
      store.transaction(async (unit) => {
        // What SQLite says of a full disk, it also says of a file that may not grow.
        unit.get('pragma max_page_count = 40');
        for (let count = 0; ; count++)
          unit.run('insert into notes values (?)', `${count}${'x'.repeat(9000)}`);
      }),
    );
    assert.equal(error.file, file);
    assert.include(error.message, `The disk of ${file} is full`);
    assert.propertyVal(error.cause, 'code', 'SQLITE_FULL');
    assert.deepEqual(await notes(store), []);
  });

  it('may have any number of texts: what is prepared is let go in time', async () => {
    const store = await withNotes();
    await store.append('order-1', newEvents(2));
    await store.transaction(async (unit) => {
      for (let count = 0; count < 1200; count++) {
        assert.deepEqual(unit.get(`select ${count} as count`), { count });
        if (count % 100 === 0) unit.run('insert into notes values (?)', `${count}`);
      }
    });
    assert.lengthOf(await notes(store), 12);
    assert.equal((await store.append('order-1', newEvents(2), { expected: 1 })).position, 4);
  });
});

describe('a long read', () => {
  const files = useFiles();

  it('holds no snapshot open between its pages, so the write-ahead log can be emptied meanwhile', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    await store.append('order-1', newEvents(10));
    const reads = [store.readAll({ batchSize: 2 }), store.readStream('order-1', { batchSize: 2 })].map(
      (reader) => reader[Symbol.asyncIterator](),
    );
    for (const read of reads) await read.next();
    await store.append('order-1', newEvents(1));
    const [checkpoint] = files.connect(file).pragma('wal_checkpoint(truncate)') as { busy: number }[];
    assert.equal(checkpoint?.busy, 0);
    for (const read of reads) {
      let count = 1;
      while (!(await read.next()).done) count += 1;
      assert.equal(count, 11);
    }
  });

  it('takes no more large events into a page than fit, once it has seen how large they are', async () => {
    const store = await files.open();
    for (let count = 0; count < 20; count++) {
      await store.append('order-1', newEvents(3, { data: 'x'.repeat(1_000_000) }));
    }
    await store.readAll({ limit: 1 }).toArray();
    for (const reader of [store.readAll(), store.readStream('order-1')]) {
      let count = 0;
      for await (const { events } of reader.batches()) {
        assert.isAtMost(events.length, 8);
        count += events.length;
      }
      assert.equal(count, 60);
    }
  });
});
