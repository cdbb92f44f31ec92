import { sqliteStore } from '@refold/sqlite';
import { assert } from 'chai';
import type Database from 'better-sqlite3';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { logIds, newEvent, newEvents } from './expectations.js';
import { useFiles } from './files.js';

const MIGRATIONS = readdirSync(new URL('../migrations/', import.meta.url)).filter((name) =>
  name.endsWith('.sql'),
);

describe('migrations', () => {
  const files = useFiles();

  it('are numbered from 1 without gaps', () => {
    assert.deepEqual(
      MIGRATIONS.sort().map((name) => Number.parseInt(name, 10)),
      MIGRATIONS.map((_, index) => index + 1),
    );
  });

  it("mark the file as Refold's and carry its version", async () => {
    const file = files.fresh();
    await (await sqliteStore(file)).close();
    const database = files.connect(file, { readonly: true });
    assert.equal(database.pragma('application_id', { simple: true }), Buffer.from('Refo').readInt32BE());
    assert.equal(database.pragma('user_version', { simple: true }), MIGRATIONS.length);
  });

  it('run once: opening again changes not a byte', async () => {
    const file = files.fresh();
    const store = await sqliteStore(file);
    const events = newEvents(3);
    await store.append('order-1', events);
    await store.close();
    const before = readFileSync(file);
    const again = await sqliteStore(file);
    assert.deepEqual(
      await logIds(again),
      events.map(({ id }) => id),
    );
    await again.close();
    assert.isTrue(readFileSync(file).equals(before));
  });

  it('lead a file of the first version on, with everything in it', async () => {
    const file = files.fresh();
    const old = files.connect(file);
    old.exec(readFileSync(new URL('../migrations/001-log-and-state.sql', import.meta.url), 'utf8'));
    old.pragma(`application_id = ${Buffer.from('Refo').readInt32BE()}`);
    old.pragma('user_version = 1');
    const insert = old.prepare(
      `insert into refold_events (position, stream, revision, id, type, version, recorded_at, data)
       values (?, 'order-1', ?, ?, 'Happened', 1, 1000, '{}')`,
    );
    const ids = newEvents(3).map(({ id }, index) => {
      insert.run(index + 1, index, id);
      return id;
    });
    old.close();
    const store = await files.open(file);
    assert.deepEqual(await logIds(store), ids);
    assert.equal(await store.truncateStream('order-1', { before: 2 }), 2);
    assert.equal((await store.append('order-1', [newEvent()], { expected: 2 })).position, 4);
    assert.deepEqual((await logIds(store)).slice(0, 3), ids);
    const version = files.connect(file, { readonly: true }).pragma('user_version', { simple: true });
    assert.equal(version, MIGRATIONS.length);
  });

  it('take over an empty file', async () => {
    const file = files.fresh();
    files.connect(file).close();
    const store = await files.open(file);
    assert.equal((await store.append('order-1', [newEvent()])).position, 1);
  });
});

describe('events', () => {
  const files = useFiles();
  const columns = 'position, stream, revision, id, type, version, recorded_at, data, metadata';
  const copy = (changed: Readonly<Record<string, string>>): string =>
    columns.replace(/\w+/g, (column) => changed[column] ?? column);
  const statements: Readonly<Record<string, string>> = {
    'an update': `update refold_events set data = '"forged"' where revision = 1`,
    'an update of nothing but the position': 'update refold_events set position = position + 10',
    'an update or replace': 'update or replace refold_events set revision = 0 where revision = 1',
    'a delete': 'delete from refold_events where revision = 1',
    'a delete of all': 'delete from refold_events',
    'a replace at its position': `replace into refold_events select ${copy({ stream: "'other-1'", id: "'x'" })} from refold_events where revision = 1`,
    'a replace under its id': `insert or replace into refold_events select ${copy({ position: '99', revision: '99' })} from refold_events where revision = 1`,
    'a replace at its revision': `insert or replace into refold_events select ${copy({ position: '99', id: "'x'" })} from refold_events where revision = 1`,
    'a replace that leaves the position to SQLite': `insert or replace into refold_events (${columns.replace('position, ', '')}) select ${columns.replace('position, ', '')} from refold_events where revision = 1`,
    'an upsert': `insert into refold_events select ${columns} from refold_events where revision = 1 on conflict (position) do update set data = '"forged"'`,
  };

  for (const [name, sql] of Object.entries(statements)) {
    for (const recursive of ['off', 'on']) {
      it(`outlive ${name} through SQL (recursive_triggers ${recursive})`, async () => {
        const file = files.fresh();
        const store = await files.open(file);
        await store.append('order-1', newEvents(3));
        const before = await store.readAll().toArray();
        const other = files.connect(file);
        other.pragma(`recursive_triggers = ${recursive}`);
        assert.throws(() => other.exec(sql), /events are facts: they cannot be (updated|deleted|replaced)/);
        const error = await store
          .transaction(async (unit) => unit.run(sql))
          .catch((thrown: unknown) => thrown);
        assert.match(String(error), /events are facts/);
        assert.deepEqual(await store.readAll().toArray(), before);
      });
    }
  }

  const all = `select ${columns} from refold_archived_events`;
  const inArchive: Readonly<Record<string, string>> = {
    'an update of an archived one': `update refold_archived_events set data = '"forged"'`,
    'a delete of an archived one': 'delete from refold_archived_events',
    'a replace of an archived one': `replace into refold_archived_events ${all}`,
    'a forged one in the archive': `insert into refold_archived_events (${columns}) select ${copy({ position: '99', revision: '99', id: "'x'" })} from refold_archived_events limit 1`,
    'one in the archive that differs': `insert into refold_archived_events (${columns}) select ${copy({ data: '\'"forged"\'' })} from refold_events`,
    'a delete of one that is not archived': 'delete from refold_events',
    'an archived one that comes back': `insert into refold_events (${columns}) select ${copy({ position: '99', revision: '99' })} from refold_archived_events limit 1`,
  };
  for (const [name, sql] of Object.entries(inArchive)) {
    it(`outlive ${name} through SQL`, async () => {
      const file = files.fresh();
      const store = await files.open(file);
      await store.append('order-1', newEvents(3));
      await store.truncateStream('order-1', { before: 2 });
      const before = await store.readAll().toArray();
      assert.throws(() => files.connect(file).exec(sql), /events are facts/);
      assert.deepEqual(await store.readAll().toArray(), before);
    });
  }

  it('outlive an insert or ignore, which adds nothing', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    await store.append('order-1', newEvents(3));
    const before = await store.readAll().toArray();
    const other = files.connect(file);
    assert.throws(() =>
      other.exec(`insert or ignore into refold_events select ${columns} from refold_events`),
    );
    assert.deepEqual(await store.readAll().toArray(), before);
  });

  it('can be read by any SQLite tool', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    await store.append('order-1', [
      { ...newEvent({ type: 'Placed', data: { total: 12 }, metadata: { user: 'ann' } }) },
    ]);
    const row = files
      .connect(file, { readonly: true })
      .prepare(
        `select position, stream, category, revision, type, data ->> 'total' as total, metadata ->> 'user' as user
         from refold_events`,
      )
      .get();
    assert.deepEqual(row, {
      position: 1,
      stream: 'order-1',
      category: 'order',
      revision: 0,
      type: 'Placed',
      total: 12,
      user: 'ann',
    });
  });
});

describe('read models', () => {
  const files = useFiles();
  const totals = {
    name: 'totals',
    kind: 'table',
    create: (table: string) => `create table ${table} (name text primary key, total integer not null) strict`,
  } as const;

  function query(database: Database.Database, sql: string): unknown[] {
    return database.prepare(sql).all();
  }

  it('are tables that any SQLite tool can query under their plain names', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const { generation } = await store.createGeneration('shop', {
      version: 1,
      collections: [totals, { name: 'customers', kind: 'documents' }],
    });
    await store.transaction(async (unit) => {
      unit.run(`insert into ${unit.table('totals', generation)} values (?, ?)`, 'ann', 12);
      await unit.documents('customers', generation).putMany(new Map([['ann', { city: 'Bonn' }]]));
    });
    const other = files.connect(file, { readonly: true });
    assert.deepEqual(query(other, 'select * from totals'), [{ name: 'ann', total: 12 }]);
    assert.deepEqual(query(other, "select key, document ->> 'city' as city from customers"), [
      { key: 'ann', city: 'Bonn' },
    ]);
    assert.deepEqual(query(other, 'select name, total from totals__1'), [{ name: 'ann', total: 12 }]);
  });

  it('show the new build under the same names once it is live', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    await store.createGeneration('shop', { version: 1, collections: [totals] });
    const wider = {
      ...totals,
      create: (table: string) => [
        `create table ${table} (name text primary key, total integer not null, count integer not null) strict`,
        `create index ${table}_count on ${table} (count)`,
      ],
    };
    const { generation } = await store.createGeneration('shop', { version: 2, collections: [wider] });
    const other = files.connect(file, { readonly: true });
    await store.transaction(async (unit) => unit.run('insert into totals__2 values (?, ?, ?)', 'ann', 12, 2));
    assert.deepEqual(query(other, 'select * from totals'), []);
    await store.transaction(async (unit) => unit.activate('shop', generation));
    assert.deepEqual(query(other, 'select * from totals'), [{ name: 'ann', total: 12, count: 2 }]);
  });

  const taken: Readonly<Record<string, string>> = {
    table: 'create table totals (mine text)',
    'table in another case': 'create table Totals (mine text)',
    view: 'create view totals as select 1 as mine',
    index: 'create table other (mine text); create index totals on other (mine)',
  };
  for (const [kind, sql] of Object.entries(taken)) {
    it(`leave a ${kind} of the user's alone that has the name already`, async () => {
      const file = files.fresh();
      const store = await files.open(file);
      const other = files.connect(file);
      other.exec(sql);
      const before = query(other, 'select type, name, sql from sqlite_schema order by name');
      const error = await store
        .createGeneration('shop', { version: 1, collections: [totals] })
        .catch((thrown: unknown) => thrown);
      assert.propertyVal(error, 'code', 'DEFINITION');
      assert.include(String(error), `Read model "totals": the file has a ${kind.split(' ')[0]} of that name`);
      assert.deepEqual(query(other, 'select type, name, sql from sqlite_schema order by name'), before);
      assert.deepEqual(await store.generations('shop'), []);
    });
  }

  it('need the table that their statements promise', async () => {
    const store = await files.open();
    const error = await store
      .createGeneration('shop', {
        version: 1,
        collections: [{ ...totals, create: () => 'create table elsewhere (name text)' }],
      })
      .catch((thrown: unknown) => thrown);
    assert.propertyVal(error, 'code', 'DEFINITION');
    assert.include(String(error), 'its statements must create a table named totals__1');
    assert.deepEqual(await store.generations('shop'), []);
  });
});
