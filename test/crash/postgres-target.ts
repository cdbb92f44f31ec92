import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError, type ProjectionContext } from '@refold/core';
import { postgresStore, sqlProjection, type PostgresStore, type PostgresUnit } from '@refold/postgres';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from '../postgres/server.js';
import { CHAIN_FACTOR, CHAIN_PRIME, Deposited, Withdrawn, type Tally } from './domain.js';
import type { Random } from './random.js';
import type { CrashTarget, Disturbance } from './target.js';

type Context = ProjectionContext<PostgresUnit>;

/** A schema of the test database, as a place's name says. The connections of its stores call themselves as it is called. */
interface Place {
  readonly address: string;
  readonly schema: string;
}

/** One schema of the test database each. Connections are cut besides, and processes of a private server killed. */
export const postgresTarget: CrashTarget<PostgresUnit> = {
  name: 'postgres',
  mostWriters: 4,
  async create() {
    const place: Place = { address: await testDatabase(), schema: `crash "${randomUUID().slice(0, 8)}"` };
    return JSON.stringify(place);
  },
  open,
  movements(version, onHandling) {
    const move = async (context: Context, stream: string, amount: number): Promise<void> => {
      onHandling('movements');
      const table = context.table('movements');
      const chain = `((t.chain * ${CHAIN_FACTOR} + $2::bigint) % ${CHAIN_PRIME} + ${CHAIN_PRIME}) % ${CHAIN_PRIME}`;
      await context.unit.sql.unsafe(`insert into ${table} values ($1, 0, 0, 0) on conflict do nothing`, [
        stream,
      ]);
      await context.unit.sql.unsafe(
        `update ${table} t set moves = moves + 1, total = total + $2::bigint, chain = ${chain} where stream = $1`,
        [stream, amount],
      );
    };
    return sqlProjection('movements', {
      version,
      tables: {
        movements: (table) =>
          `create table ${table} (stream text primary key, moves bigint, total bigint, chain bigint)`,
      },
    })
      .on(Deposited, ({ stream, data }, context) => move(context, stream, data.amount))
      .on(Withdrawn, ({ stream, data }, context) => move(context, stream, -data.amount));
  },
  readMovements: (place) =>
    beside(place, async (sql, quoted) => {
      const [found] = await sql`select to_regclass(${`${quoted}.movements`}) is not null as there`;
      if (!found?.there) return new Map();
      const rows = await sql.unsafe<Record<string, string>[]>(`select * from ${quoted}.movements`);
      return new Map(rows.map(({ stream = '', ...tally }) => [stream, tallyOf(tally)]));
    }),
  damage: (place) =>
    beside(place, async (sql, quoted) => {
      const problems = await sql.unsafe<{ problem: string }[]>(
        `
        select 'the log has ' || count(*) || ' events and its head is ' || max(position) as problem
          from ${quoted}.events having count(*) <> max(position)
        union all
        select 'the table ' || relname || ' belongs to no build' from pg_class
          where relnamespace = $1::regnamespace and relkind = 'r' and relname ~ '__[0-9]+$' and not exists (
            select from ${quoted}.generations g, unnest(g.collections) as c(name)
            where g.status <> 'dropped' and relname = c.name || '__' || g.generation)
        union all
        select 'a transaction is prepared: ' || gid from pg_prepared_xacts where database = current_database()`,
        [quoted],
      );
      return problems.map(({ problem }) => problem);
    }),
  remove: (place) =>
    beside(place, async (sql, quoted) => void (await sql.unsafe(`drop schema ${quoted} cascade`))),
  settled: (place) =>
    beside(place, async (sql, _quoted, { schema }) => {
      // Twice, because what a killed process sent last may not have been read yet.
      for (let quiet = 0; quiet < 2; await sleep(30)) {
        const [row] = await sql`select count(*)::int as busy from pg_stat_activity
          where application_name = ${schema} and state <> 'idle'`;
        quiet = row?.busy === 0 ? quiet + 1 : 0;
      }
    }),
  disturb: (place, random) => beside(place, (sql, _quoted, { schema }) => disturb(sql, schema, random)),
  end: stopTestDatabase,
};

/** A process that starts while connections are cut tries again. */
async function open(place: string): Promise<PostgresStore> {
  const { address, schema } = parse(place);
  const named = new URL(address);
  named.searchParams.set('application_name', schema);
  for (;;) {
    try {
      return await postgresStore(named.href, { schema });
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await sleep(20);
    }
  }
}

/** Mostly cuts some connections; now and then kills a process of a private server, which then starts anew and recovers. */
async function disturb(sql: postgres.Sql, schema: string, random: Random): Promise<Disturbance> {
  const crash = !process.env['DATABASE_URL'] && random.chance(0.04);
  const sessions = await sql<{ pid: number }[]>`select pid from pg_stat_activity
    where application_name = ${schema} order by state = 'active' desc, random() limit ${random.between(1, 3)}`;
  if (!crash) {
    for (const { pid } of sessions) await sql`select pg_terminate_backend(${pid})`;
    return { connections: sessions.length, crashes: 0 };
  }
  const [victim] = sessions;
  if (!victim) return { connections: 0, crashes: 0 };
  process.kill(victim.pid, 'SIGKILL');
  return { connections: 0, crashes: 1 };
}

/** Works on the database beside the stores, once it answers. */
async function beside<Result>(
  place: string,
  work: (sql: postgres.Sql, quoted: string, place: Place) => Promise<Result>,
): Promise<Result> {
  const { address, schema } = parse(place);
  for (let tries = 0; ; tries++) {
    const sql = postgres(address, { max: 1, onnotice: () => {} });
    try {
      await sql`select 1`;
      return await work(sql, `"${schema.replaceAll('"', '""')}"`, { address, schema });
    } catch (error) {
      if (tries === 1200 || error instanceof postgres.PostgresError === false) throw error;
      if (!error.code.startsWith('57P')) throw error;
      await sleep(50);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

function parse(place: string): Place {
  return JSON.parse(place) as Place;
}

function tallyOf({ moves, total, chain }: Record<string, string>): Tally {
  return { moves: Number(moves), total: Number(total), chain: Number(chain) };
}
