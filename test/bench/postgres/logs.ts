import {
  createApplication,
  EventCodec,
  type Application,
  type DocumentProjection,
  type StreamAppend,
} from '@refold/core';
import { postgresStore, type PostgresStore, type PostgresUnit } from '@refold/postgres';
import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import {
  accountAt,
  Deposited,
  eventAt,
  expectedStatements,
  statements,
  Withdrawn,
  type Statement,
} from '../accounts.js';
import { RawPostgres } from './raw.js';
import { stopTestDatabase, testDatabase } from '../../postgres/server.js';

export const stream = (account: string): string => `account-${account}`;

/** Two equal logs of one length in a database of their own: one behind Refold, one behind hand-written code. */
export interface Logs {
  readonly length: number;
  readonly url: string;
  readonly store: PostgresStore;
  readonly application: Application<PostgresUnit>;
  readonly raw: RawPostgres;
  /** Looks into both without either. */
  readonly witness: postgres.Sql;
  /** What a plain fold of the log gives. */
  readonly expected: ReadonlyMap<string, Statement>;
}

/** Databases on the server, dropped at the end. */
export class Databases implements AsyncDisposable {
  readonly #admin: postgres.Sql;
  readonly #url: string;
  readonly #names: string[] = [];
  readonly #closing: (() => Promise<unknown>)[] = [];

  private constructor(url: string) {
    this.#url = url;
    this.#admin = postgres(url, { max: 1, onnotice: () => {} });
  }

  static async open(): Promise<Databases> {
    return new Databases(await testDatabase());
  }

  /** The version of the server, and whether it waits for its disk. */
  async settings(): Promise<{ readonly version: string; readonly fsync: string }> {
    const [row] = await this.#admin<{ version: string; fsync: string }[]>`
      select current_setting('server_version') as version, current_setting('fsync') as fsync`;
    return row ?? { version: '', fsync: '' };
  }

  /** The address of a new database. */
  async create(): Promise<string> {
    const name = `refold_bench_${randomUUID().slice(0, 8)}`;
    await this.#admin.unsafe(`create database ${name}`);
    this.#names.push(name);
    const url = new URL(this.#url);
    url.pathname = `/${name}`;
    return url.href;
  }

  /** What is to be closed before the databases are dropped. */
  closing(close: () => Promise<unknown>): void {
    this.#closing.push(close);
  }

  /** Writes out what is dirty, so that no side pays for what was done before it. */
  async checkpoint(): Promise<void> {
    await this.#admin`checkpoint`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    for (const name of this.#names) await this.#admin.unsafe(`drop database ${name} with (force)`);
    await this.#admin.end();
    await stopTestDatabase();
  }
}

/** Makes two equal logs of a length. */
export async function makeLogs(databases: Databases, length: number): Promise<Logs> {
  const url = await databases.create();
  const store = await postgresStore(url);
  databases.closing(() => store.close());
  for (let first = 0; first < length; first += SEED_BATCH) {
    await store.appendAll(seedAppends(first, Math.min(length, first + SEED_BATCH), length));
  }
  const witness = postgres(url, { max: 1, onnotice: () => {} });
  databases.closing(() => witness.end());
  await (await postgresStore(url, { schema: 'raw' })).close();
  await witness.unsafe('insert into raw.events select * from refold.events order by position');
  const raw = new RawPostgres(url, 'raw');
  databases.closing(() => raw.close());
  await raw.prepare(length);
  await witness.unsafe('vacuum analyze');
  return {
    length,
    url,
    store,
    application: accountsApplication(store, statements('statements')),
    raw,
    witness,
    expected: expectedStatements(length),
  };
}

/** An application on the accounts with this projection. */
export function accountsApplication(
  store: PostgresStore,
  projection: DocumentProjection<Statement>,
): Application<PostgresUnit> {
  return createApplication({ store, projections: [projection] });
}

/** What was appended behind a position. */
export interface Tail {
  readonly count: number;
  /** The highest and the lowest position; without gaps they lie `count - 1` apart. */
  readonly head: number;
  readonly first: number;
  readonly revisions: number;
  readonly amounts: number;
}

/** The sums of events of some streams behind a position, by which both sides can be held against each other. */
export async function tailOf(
  { witness }: Logs,
  schema: string,
  after: number,
  streams = 'account-%',
): Promise<Tail> {
  const [row] = await witness.unsafe<Tail[]>(
    `select count(*)::int as count, coalesce(max(position), 0)::float8 as head, coalesce(min(position), 0)::float8 as first,
       coalesce(sum(revision), 0)::float8 as revisions, coalesce(sum((data->>'amount')::int), 0)::float8 as amounts
     from ${schema}.events where position > $1 and stream like $2`,
    [after, streams],
  );
  if (!row) throw new Error('An aggregate gave no row');
  return row;
}

/** As many as were appended, on our side without gaps, and on both sides the same sums, of revisions too. */
export function equalTails(ours: Tail, raw: Tail, count: number): boolean {
  return (
    ours.count === count &&
    ours.head - ours.first === count - 1 &&
    raw.count === count &&
    ours.revisions === raw.revisions &&
    ours.amounts === raw.amounts
  );
}

/** How many events of raw's table are in streams whose names begin so. */
export async function countOf({ witness, raw }: Logs, prefix: string): Promise<number> {
  const [row] = await witness.unsafe<{ count: number }[]>(
    `select count(*)::int as count from ${raw.schema}.events where stream like '${prefix}%'`,
  );
  return row?.count ?? 0;
}

const SEED_BATCH = 5000;
const codec = new EventCodec([Deposited, Withdrawn]);

/** The events from `first` to before `end`, by stream. */
function seedAppends(first: number, end: number, length: number): StreamAppend[] {
  const byStream = new Map<string, StreamAppend & { events: ReturnType<EventCodec['encode']>[] }>();
  for (let index = first; index < end; index++) {
    const name = stream(accountAt(index, length));
    let append = byStream.get(name);
    if (!append) byStream.set(name, (append = { stream: name, events: [] }));
    append.events.push(codec.encode(eventAt(index)));
  }
  return [...byStream.values()];
}
