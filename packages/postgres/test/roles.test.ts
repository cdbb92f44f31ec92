import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createApplication, defineEvent, documentProjection, silentLogger } from '@refold/core';
import { migrationSql, PrivilegeError, sqlProjection } from '@refold/postgres';
import { expect } from 'chai';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import postgres from 'postgres';
import { failureOf, Fixture, happened } from './fixture.js';
import { stopTestDatabase } from './server.js';

after(stopTestDatabase);

const PAGE = new URL('../../../docs/adapters/postgres.md', import.meta.url);

const Counted = defineEvent('Counted', (by: number) => ({ by }));

describe('a role with the grants of the documentation', () => {
  let fixture: Fixture;
  const [app, viewer] = ['app', 'viewer'].map((name) => `${name}_${randomUUID().slice(0, 8)}`) as [
    string,
    string,
  ];

  beforeEach(async () => {
    fixture = await Fixture.create();
    for (const role of [app, viewer]) await fixture.sql.unsafe(`create role ${role} login password 'secret'`);
    const owner = postgres(fixture.address, { max: 1, onnotice: () => {} });
    await owner.unsafe(migrationSql({ schema: fixture.schema }));
    await owner.end();
  });
  afterEach(async () => {
    await fixture.sql.unsafe(
      `drop owned by ${viewer} cascade; drop owned by ${app} cascade; drop role ${app}, ${viewer}`,
    );
    await fixture.end();
  });

  const as = (role: string): string => {
    const address = new URL(fixture.address);
    address.username = role;
    address.password = 'secret';
    return address.href;
  };
  /** Runs the statements of the page that are for a role, for the names of this test. */
  const grant = async (name: 'app' | 'viewer'): Promise<void> => {
    const statements = grantsOf(name)
      .replaceAll(/\brefold\b/g, () => fixture.quoted)
      .replaceAll(/\bapp\b/g, app)
      .replaceAll(/\bviewer\b/g, viewer);
    await fixture.sql.unsafe(statements);
  };

  it('runs an application: appends, snapshots, read models of all kinds, rebuilds, reads', async () => {
    await grant('app');
    await grant('viewer');
    const store = await fixture.open({ migrate: 'check' }, as(app));
    const sums = (mode: 'inline' | 'async') =>
      documentProjection(`sums_${mode}`, { mode, initial: () => ({ sum: 0 }) }).on(
        Counted,
        ({ sum }, { data }) => ({
          sum: sum + data.by,
        }),
      );
    const rows = sqlProjection('counted', {
      tables: { counted: (table) => `create table ${table} (position bigint primary key)` },
    }).on(Counted, async ({ position }, { unit, table }) => {
      await unit.sql.unsafe(`insert into ${table('counted')} values ($1)`, [position]);
    });
    const projections = [sums('inline'), sums('async'), rows];
    const application = createApplication({ store, projections, logger: silentLogger });
    await application.append('count-1', [Counted(1), Counted(2)]);
    await application.catchUp();
    for (const projection of projections) {
      await application.rebuild(projection);
      await application.processor(projection).dropReplaced();
    }
    const { deadLetters } = application.processor('counted');
    expect(await deadLetters.count()).to.equal(0);
    await application.processor('counted').pause();
    await application.processor('counted').resume();
    await store.saveSnapshot({ stream: 'count-1', revision: 1, version: 1, state: {} });
    await store.deleteSnapshot('count-1');
    for (const dedupeBy of ['id', 'sequence'] as const) {
      const inbox = application.inbox(`by ${dedupeBy}`, { dedupeBy, retentionMs: 60_000 });
      const message = { id: 'm', sequence: 1 };
      expect((await inbox.once(message, async () => {})).duplicate).to.equal(false);
      expect((await inbox.once(message, async () => {})).duplicate).to.equal(true);
    }
    expect(await store.lockHolders()).to.deep.equal([]);

    const reading = await fixture.open({ migrate: 'check' }, as(viewer));
    expect(await reading.readAll().toArray()).to.have.length(2);
    for (const name of ['sums_inline', 'sums_async']) {
      expect(await reading.documents(name).get('1')).to.deep.equal({ sum: 3 });
    }
    expect(await reading.partitions()).to.have.length(3);
    expect(await failureOf(reading.append('count-1', [happened()]))).to.be.instanceOf(PrivilegeError);
  });

  it('can neither change events, nor remove them, nor what guards them', async () => {
    await grant('app');
    const store = await fixture.open({ migrate: 'check' }, as(app));
    await store.append('order-1', [happened()]);
    const sql = fixture.pool(as(app));
    const events = `${fixture.quoted}.events`;
    for (const statement of [
      `update ${events} set type = 'Changed'`,
      `delete from ${events}`,
      `truncate ${events}`,
      `alter table ${events} disable trigger all`,
      `create trigger other before insert on ${events} for each row execute function ${fixture.quoted}.refuse_change()`,
      `drop table ${events} cascade`,
      `create or replace function ${fixture.quoted}.refuse_change() returns trigger language plpgsql as 'begin return old; end'`,
      `select ${fixture.quoted}.archive('order-1', null, 1000)`,
      `delete from ${fixture.quoted}.migrations`,
    ]) {
      expect(await failureOf(sql.unsafe(statement)), statement).to.have.property('code', '42501');
    }
    expect(await store.readAll().toArray()).to.have.length(1);
  });

  it('is told what it lacks before anything is granted', async () => {
    const error = await failureOf(fixture.open({}, as(app)));
    expect(error)
      .to.be.instanceOf(PrivilegeError)
      .and.to.have.property('message')
      .that.includes('permission denied');
  });
});

describe('a role that may create tables in one schema, and no schemas', () => {
  it('sets a store up in it', async () => {
    const fixture = await Fixture.create();
    const role = `owner_${randomUUID().slice(0, 8)}`;
    await fixture.sql.unsafe(
      `create role ${role} login password 'secret'; create schema ${fixture.quoted} authorization ${role}`,
    );
    const address = new URL(fixture.address);
    address.username = role;
    address.password = 'secret';
    const store = await fixture.open({}, address.href);
    expect(await store.append('order-1', [happened()])).to.include({ position: 1 });
    await fixture.end();
    const sql = postgres(fixture.address, { max: 1 });
    await sql.unsafe(`drop role ${role}`);
    await sql.end();
  });
});

function grantsOf(role: 'app' | 'viewer'): string {
  const fences = readFileSync(PAGE, 'utf8').matchAll(/```sql\n(.*?)```/gs);
  const found = [...fences].map(([, sql = '']) => sql).find((sql) => sql.includes(`to ${role};`));
  if (!found) throw new Error(`docs/adapters/postgres.md has no grants for ${role}`);
  return found;
}
