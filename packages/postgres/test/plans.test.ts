import { randomUUID } from 'node:crypto';
import type { PostgresStore } from '@refold/postgres';
import { expect } from 'chai';
import { after, before, describe, it } from 'mocha';
import type postgres from 'postgres';
import type { CuttingProxy } from './cutting-proxy.js';
import { Fixture, happened } from './fixture.js';
import { stopTestDatabase } from './server.js';

after(stopTestDatabase);

/** Ten events a stream; every fourth stream is archived. */
const STREAMS = 4000;
const EVENTS = STREAMS * 10;

/** What the server says of a plan, as far as it is looked at here. */
interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly Plans?: readonly PlanNode[];
}

describe('plans of hot statements, on many events', () => {
  let fixture: Fixture;
  let proxy: CuttingProxy;
  let store: PostgresStore;
  let session: postgres.Sql;

  before(async function () {
    this.timeout(60_000);
    fixture = await Fixture.create();
    proxy = await fixture.proxy();
    store = await fixture.open({ listen: false }, proxy.address);
    session = fixture.pool(fixture.address, { max: 1 });
    const events = (table: string, condition: string): string => `insert into ${fixture.quoted}.${table}
      select n, 'order-' || n / 10, n % 10, gen_random_uuid(), 'Type' || n % 20, 1, now(), '{"some": "data"}', null
      from generate_series(1, ${EVENTS}) as n where n / 10 % 4 ${condition} 0`;
    await fixture.sql.unsafe(events('archived_events', '='));
    await fixture.sql.unsafe(events('events', '<>'));
    await fixture.sql.unsafe(`analyze ${fixture.quoted}.events; analyze ${fixture.quoted}.archived_events`);
  });
  after(() => fixture.end());

  /** The statement that a call sends, and matches. */
  const sentBy = async (call: () => Promise<unknown>, statement: RegExp): Promise<string> => {
    const before = proxy.statements.length;
    await call();
    const found = proxy.statements.slice(before).find((sql) => statement.test(sql));
    if (found === undefined) throw new Error('No statement matches');
    return found;
  };

  /** The indexes that a statement's plan uses, for given values and for any values. Fails if it reads a table whole. */
  const indexesOf = async (
    sql: string,
    values: readonly (string | number)[],
    refused = ['Seq Scan', 'Sort'],
  ): Promise<string[]> => {
    const indexes = new Set<string>();
    for (const mode of ['force_custom_plan', 'force_generic_plan']) {
      await session.unsafe(`set plan_cache_mode = ${mode}; prepare hot as ${sql}`);
      const given = values.map((value) => `'${value}'`).join(', ');
      const [row] = await session.unsafe<{ 'QUERY PLAN': [{ Plan: PlanNode }] }[]>(
        `explain (format json) execute hot${values.length > 0 ? `(${given})` : ''}`,
      );
      await session.unsafe('deallocate hot');
      for (const node of nodesOf(row?.['QUERY PLAN'][0].Plan)) {
        expect(node['Node Type'], `${mode}: ${sql}`).not.to.be.oneOf(refused);
        if (node['Index Name'] !== undefined) indexes.add(node['Index Name']);
      }
    }
    return [...indexes].sort();
  };

  it('a stream is read by its index', async () => {
    const sql = await sentBy(() => store.readStream('order-9').toArray(), /where stream = \$1/);
    // The few events of one stream may be sorted after they were found.
    const indexes = await indexesOf(sql, ['order-9', -1, 2_000_000, 1000], ['Seq Scan']);
    expect(indexes).to.deep.equal(['events_stream']);
  });

  for (const [direction, order] of [
    ['forward', 'asc'],
    ['backward', 'desc'],
  ] as const) {
    it(`the log is read ${direction} by position, filtered or not`, async () => {
      const page = new RegExp(`order by position ${order}`);
      const read = (filter?: { types?: string[]; categories?: string[] }) => () =>
        store.readAll({ direction, filter, limit: 10 }).toArray();
      for (const [call, more] of [
        [read(), []],
        [read({ types: ['Type3', 'Type4'] }), ['{Type3,Type4}']],
        [read({ categories: ['order'] }), ['{order}']],
        [read({ types: ['Type3'], categories: ['order'] }), ['{Type3}', '{order}']],
      ] as const) {
        const sql = await sentBy(call, page);
        // A forward read may go to the head, which the same statement finds.
        const all = [EVENTS / 2, 1000, ...(sql.includes('position <= $3') ? [EVENTS] : [])];
        // The limited rows of the two tables may be sorted once they are found.
        expect(await indexesOf(sql, [...all, ...more], ['Seq Scan'])).to.deep.equal([
          'archived_events_pkey',
          'events_pkey',
        ]);
      }
    });
  }

  it('the head is found by position', async () => {
    const sql = await sentBy(() => store.head(), /"head"\(\)/);
    const body = await fixture.sql.unsafe(`select prosrc from pg_proc
      where oid = '${fixture.quoted.replaceAll("'", "''")}.head()'::regprocedure`);
    expect(sql).to.include('head');
    expect(await indexesOf(String(body[0]?.prosrc), [])).to.deep.equal([
      'archived_events_pkey',
      'events_pkey',
    ]);
  });

  it('a repeated append finds its events by id', async () => {
    const event = happened();
    await store.append('order-2', [event]);
    const sql = await sentBy(() => store.append('order-2', [event]), /where id = any/);
    const ids = `{${randomUUID()},${randomUUID()}}`;
    expect(await indexesOf(sql, [ids])).to.deep.equal(['archived_events_id_idx', 'events_id']);
  });

  it('an append of nothing finds the revision by the stream', async () => {
    const sql = await sentBy(() => store.append('order-2', []), /"revision_in_archive"/);
    expect(await indexesOf(sql, ['order-2'])).to.include('events_stream');
  });

  it('what an inbox forgets is found by its age', async () => {
    await fixture.sql.unsafe(`insert into ${fixture.quoted}.received_ids
      select 'inbox-' || n % 2, '', n::text, now() - n * interval '1 second' from generate_series(1, 20000) as n;
      analyze ${fixture.quoted}.received_ids`);
    const options = { olderThanMs: 3_600_000, limit: 10 };
    const sql = await sentBy(() => store.forgetReceived('inbox-1', options), /delete from/);
    // By its name alone would be a pass over the inbox.
    const [, ids = ''] = /array\(\s*(select ctid.*?skip locked)\)/s.exec(sql) ?? [];
    const indexes = await indexesOf(ids, ['inbox-1', options.olderThanMs, options.limit]);
    expect(indexes).to.deep.equal(['received_ids_age']);
  });

  it('an append reads no table whole, whether its streams are new, known or archived', async () => {
    for (const stream of ['order-2', 'order-4', 'new-1']) {
      const [read] = await store.transaction(async (unit) => {
        await store.append(stream, [happened(), happened()], { transaction: unit });
        return unit.sql<{ whole: number }[]>`select coalesce(sum(seq_tup_read), 0)::int as whole
          from pg_stat_xact_user_tables where schemaname = ${fixture.schema}`;
      });
      // Whether there is an archive at all is asked by looking at one of its rows.
      expect(read?.whole, stream).to.be.below(10);
    }
  });
});

function nodesOf(node: PlanNode | undefined): PlanNode[] {
  return node ? [node, ...(node.Plans ?? []).flatMap(nodesOf)] : [];
}
