import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError, type ProjectionContext, type RecordedEvent } from '@refold/core';
import { postgresStore, sqlProjection, type PostgresStore, type PostgresUnit } from '@refold/postgres';
import postgres from 'postgres';
import { amountOf, Moved, Returned } from './chaos-domain.js';
import { RestartableServer } from './chaos-postgres-server.js';
import { ChaosProxy } from './chaos-proxy.js';
import type { ChaosTarget, Disturbance } from './chaos-target.js';
import { CHAIN_FACTOR, CHAIN_PRIME } from './domain.js';

interface Place {
  readonly address: string;
  readonly schema: string;
  /** The process of the server, which goes on after a failure. */
  readonly server?: number;
}

/** How long a cut connection stays cut, in milliseconds. */
const CUT_MS = 300;

/** Connections of one disturbance that the server ends. */
const TERMINATED = 3;

let shared: Promise<{ readonly server: RestartableServer; readonly proxy: ChaosProxy }> | undefined;

/** A schema each of a private server, which is restarted; other processes reach it through a proxy, which is cut. */
export const postgresChaos: ChaosTarget<PostgresUnit> = {
  name: 'postgres',
  disturbances: ['terminate', 'cut', 'restart', 'crash'],

  async create() {
    const { server } = await started();
    return JSON.stringify({
      address: server.address,
      schema: `chaos "${randomUUID().slice(0, 8)}"`,
      server: server.pid,
    } satisfies Place);
  },
  async reached(place) {
    const { proxy } = await started();
    const { address, schema } = parse(place);
    return JSON.stringify({ address: proxy.through(address), schema } satisfies Place);
  },
  open,
  disturb,

  prepareEffects: (place) =>
    beside(place, async (sql, quoted) => {
      await sql.unsafe(
        `create table ${quoted}.effects__1 (number bigint generated always as identity, life int, position bigint, sequence text)`,
      );
    }),
  async writeEffect(unit, { position }, sequence, life) {
    const table = unit.table('effects', 1);
    await unit.sql.unsafe(`insert into ${table} (life, position, sequence) values ($1, $2, $3)`, [
      life,
      position,
      sequence,
    ]);
  },
  readEffects: (place) =>
    beside(place, async (sql, quoted) => {
      const rows = await sql.unsafe<{ life: number; position: string; sequence: string }[]>(
        `select life, position, sequence from ${quoted}.effects__1 order by number`,
      );
      return rows.map(({ position, ...row }) => ({ ...row, position: Number(position) }));
    }),

  ledger(options, onHandling) {
    const move = async (event: RecordedEvent, context: ProjectionContext<PostgresUnit>): Promise<void> => {
      onHandling(event);
      const { sql } = context.unit;
      const ledger = context.table('ledger');
      const chain = `((t.chain * ${CHAIN_FACTOR} + $2::bigint) % ${CHAIN_PRIME} + ${CHAIN_PRIME}) % ${CHAIN_PRIME}`;
      await sql.unsafe(`insert into ${ledger} values ($1, 0, 0, 0) on conflict do nothing`, [event.stream]);
      await sql.unsafe(
        `update ${ledger} t set moves = moves + 1, total = total + $2::bigint, chain = ${chain} where stream = $1`,
        [event.stream, amountOf(event)],
      );
    };
    return sqlProjection('ledger', {
      ...options,
      tables: {
        ledger: (table) =>
          `create table ${table} (stream text primary key, moves bigint, total bigint, chain bigint)`,
      },
    })
      .on(Moved, move)
      .on(Returned, move);
  },
  readLedger: (place) =>
    beside(place, async (sql, quoted) => {
      const rows = await sql.unsafe<Record<string, string>[]>(`select * from ${quoted}.ledger`);
      return new Map(
        rows.map(({ stream = '', moves, total, chain }) => [
          stream,
          { moves: Number(moves), total: Number(total), chain: Number(chain) },
        ]),
      );
    }),
  damage: async () => [],
  remove: (place) =>
    beside(place, async (sql, quoted) => void (await sql.unsafe(`drop schema ${quoted} cascade`))),

  async close() {
    const running = await shared;
    shared = undefined;
    await running?.proxy.close();
    await running?.server.stop();
  },
};

/** The server is started when the first place is made. */
function started(): NonNullable<typeof shared> {
  return (shared ??= RestartableServer.start().then(async (server) => ({
    server,
    proxy: await ChaosProxy.before(server.address),
  })));
}

/** A process that starts while the database is away tries again. */
async function open(place: string): Promise<PostgresStore> {
  const { address, schema } = parse(place);
  for (;;) {
    try {
      return await postgresStore(address, { schema });
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await sleep(50);
    }
  }
}

async function disturb(place: string, what: Disturbance): Promise<void> {
  const { server, proxy } = await started();
  switch (what) {
    case 'terminate':
      return beside(place, async (sql) => {
        await sql`select pg_terminate_backend(pid) from (
          select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
          order by random() limit ${TERMINATED}) as chosen`;
      });
    case 'cut':
      proxy.cut(CUT_MS);
      return sleep(CUT_MS);
    case 'restart':
      return server.restart('fast');
    case 'crash':
      return server.restart('immediate');
  }
}

/** Works on the database beside the stores, once it answers. */
async function beside<Result>(
  place: string,
  work: (sql: postgres.Sql, quoted: string) => Promise<Result>,
): Promise<Result> {
  const { address, schema } = parse(place);
  for (let tries = 1; ; tries++) {
    // The driver looks for types first, and nobody hears of it when its connection ends meanwhile.
    const sql = postgres(address, { max: 1, fetch_types: false, onnotice: () => {} });
    try {
      await sql`select 1`;
      return await work(sql, `"${schema.replaceAll('"', '""')}"`);
    } catch (error) {
      if (tries === 100 || !isAway(error)) throw error;
      await sleep(100);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

/** The database is being restarted, or has ended this connection among others. */
function isAway(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return code.startsWith('57P') || code.startsWith('CONNECTION_') || code.startsWith('ECONN');
}

function parse(place: string): Place {
  return JSON.parse(place) as Place;
}
