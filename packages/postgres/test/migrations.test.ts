import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { migrationSql, OutdatedSchemaError } from '@refold/postgres';
import { expect } from 'chai';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import postgres from 'postgres';
import { failureOf, Fixture, happened } from './fixture.js';
import { stopTestDatabase } from './server.js';

after(stopTestDatabase);

/** A dump of a schema that has the first migration alone, and its name there. */
const DUMP = new URL('../test/fixtures/schema-001.sql', import.meta.url);
const NAME_IN_DUMP = '"Old ""log"""';

describe('migrations of PostgreSQL', () => {
  let fixture: Fixture;

  beforeEach(async () => {
    fixture = await Fixture.create();
  });
  afterEach(() => fixture.end());

  const idOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
  /** Runs a script as psql would: as one simple query, on a connection of its own. */
  const run = async (script: string): Promise<void> => {
    const session = postgres(fixture.address, { max: 1, onnotice: () => {} });
    await session.unsafe(script);
    await session.end();
  };
  const restore = (): Promise<void> =>
    run(
      readFileSync(DUMP, 'utf8')
        .replaceAll(`'${NAME_IN_DUMP}`, () => `'${fixture.quoted.replaceAll("'", "''")}`)
        .replaceAll(NAME_IN_DUMP, () => fixture.quoted),
    );

  it('lead a dumped schema of the first version on, with its events, to what a new one is', async () => {
    await restore();
    const store = await fixture.open();
    const log = await store.readAll().toArray();
    expect(log.map(({ id, position, stream, revision }) => [position, id, stream, revision])).to.deep.equal([
      [1, idOf(1), 'order-1', 0],
      [2, idOf(2), 'order-1', 1],
      [3, idOf(3), 'order-1', 2],
      [4, idOf(4), 'order-2', 0],
      [5, idOf(5), 'order-2', 1],
      [6, idOf(6), 'order-3', 0],
      [7, idOf(7), 'order-3', 1],
    ]);
    expect(log[6]?.data).to.deep.equal({ n: 7, text: `it's "quoted" \\ ü 🙂` });
    expect(log[6]?.metadata).to.deep.equal({ correlationId: 'c-7' });
    expect(await store.append('order-3', [happened()], { expected: 1 })).to.include({
      revision: 2,
      position: 8,
    });
    const repeated = { id: idOf(7), type: 'Happened', data: {} };
    expect(await store.append('order-3', [repeated])).to.include({ revision: 1, position: 7 });
    const fresh = await Fixture.create();
    await fresh.open();
    const expected = await shapeOf(fresh);
    await fresh.end();
    expect(await shapeOf(fixture)).to.deep.equal(expected);
  });

  it('are printed from any version, and what is printed does what opening a store does', async () => {
    await restore();
    const error = await failureOf(fixture.open({ migrate: 'check' }));
    expect(error).to.be.instanceOf(OutdatedSchemaError).and.to.include({ found: 1 });
    const script = migrationSql({ schema: fixture.schema, from: 1 });
    expect(script).not.to.include('001-log.sql');
    await run(script);
    await fixture.open({ migrate: 'check' });
    const other = await Fixture.create();
    await run(migrationSql({ schema: other.schema }));
    const expected = await shapeOf(other);
    await other.end();
    expect(await shapeOf(fixture)).to.deep.equal(expected);
  });

  it('are run once by 6 processes that start at the same time, and all append', async function () {
    this.timeout(60_000);
    const script = fileURLToPath(new URL('open-child.js', import.meta.url));
    const children = Array.from({ length: 6 }, () => fork(script, [fixture.address, fixture.schema]));
    const codes = await Promise.all(
      children.map(async (child) => ((await once(child, 'exit')) as unknown[])[0]),
    );
    expect(codes).to.deep.equal([0, 0, 0, 0, 0, 0]);
    const versions = await fixture.sql.unsafe(
      `select version from ${fixture.quoted}.migrations order by version`,
    );
    expect(versions.map(({ version }) => Number(version))).to.deep.equal(versions.map((_, at) => at + 1));
    const store = await fixture.open();
    expect(await store.head()).to.equal(6);
  });

  it('that fail leave nothing behind, and run when what stood in their way is gone', async () => {
    await fixture.sql.unsafe(
      `create schema ${fixture.quoted}; create table ${fixture.quoted}.generations (id text)`,
    );
    expect(await failureOf(fixture.open()))
      .to.have.property('message')
      .that.includes('already exists');
    const left =
      await fixture.sql`select relname from pg_class where relnamespace = ${fixture.quoted}::regnamespace
      and relkind = 'r'`;
    expect(left.map(({ relname }) => relname as string)).to.deep.equal(['generations']);
    await fixture.sql.unsafe(`drop table ${fixture.quoted}.generations`);
    const store = await fixture.open();
    expect(await store.append('order-1', [happened()])).to.include({ position: 1 });
  });
});

/** Everything in a fixture's schema, as the catalogs describe it, without its name. */
async function shapeOf({ sql, schema, quoted }: Fixture): Promise<string[]> {
  const rows = await sql<{ line: string }[]>`
    with own as (select oid from pg_namespace where nspname = ${schema})
    select format('column %s.%s %s null=%s default=%s collation=%s', c.relname, a.attname,
        format_type(a.atttypid, a.atttypmod), not a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attcollation) as line
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
      where c.relnamespace in (select oid from own) and c.relkind in ('r', 'v')
    union all select format('table %s %s', relname, reloptions) from pg_class
      where relnamespace in (select oid from own) and relkind in ('r', 'v')
    union all select 'index ' || indexdef from pg_indexes where schemaname = ${schema}
    union all select format('constraint %s %s', conname, pg_get_constraintdef(oid)) from pg_constraint
      where connamespace in (select oid from own)
    union all select 'function ' || pg_get_functiondef(oid) from pg_proc where pronamespace in (select oid from own)
    union all select 'trigger ' || pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid
      where c.relnamespace in (select oid from own) and not t.tgisinternal
    union all select format('view %s %s', viewname, definition) from pg_views where schemaname = ${schema}`;
  return rows
    .map(({ line }) => line.replaceAll(quoted, 'SCHEMA').replaceAll(quoted.replaceAll("'", "''"), 'SCHEMA'))
    .sort();
}
