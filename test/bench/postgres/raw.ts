import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import postgres from 'postgres';
import { v7 as uuidv7 } from 'uuid';
import { Deposited, emptyStatement, fold, Withdrawn, type Movement, type Statement } from '../accounts.js';

type Row = [
  position: string,
  stream: string,
  revision: string,
  id: string,
  type: 'Deposited' | 'Withdrawn',
  version: number,
  recordedAt: Date,
  data: string,
  metadata: string | null,
];

/** An event as hand-written code hands it on. */
interface RawEvent {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: 'Deposited' | 'Withdrawn';
  readonly recordedAt: Date;
  readonly metadata: unknown;
  readonly data: Deposited | Withdrawn;
}

/** An event to be copied in. */
export interface Item {
  readonly stream: string;
  readonly event: Deposited | Withdrawn;
}

/** Rows go to the connection in pieces of about this many characters. */
const PIECE = 128 * 1024;

/** Events a page of a read, and a batch of a projection: those that Refold takes by default. */
const PAGE = 1000;
const BATCH = 5000;

/**
 * The baseline: the `postgres` client by hand, on a schema with Refold's own tables, indexes and rows in the same database.
 * It does what an application without a framework would do well: prepared statements, one statement an append, rows as
 * arrays, one transaction a batch. What it leaves out: positions come from a sequence, so that a reader can pass one that
 * commits later; an append is not idempotent; nobody is told of it.
 */
export class RawPostgres {
  readonly sql: postgres.Sql;
  readonly schema: string;
  readonly #appendOne: string;
  readonly #appendInOrder: string;
  readonly #appendNotifying: string;
  readonly #appendMany: string;
  readonly #appendTogether: string;
  readonly #copyIn: string;
  readonly #page: string;

  constructor(url: string, schema: string) {
    this.sql = postgres(url, { max: 10, onnotice: () => {}, connection: { application_name: 'raw' } });
    this.schema = schema;
    this.#appendOne = appendOne(schema, '$1', '$2::uuid', '$3', '$4');
    this.#appendNotifying = `with appended as (${this.#appendOne} returning position)
      select pg_notify($5, position::text) from appended`;
    this.#appendInOrder = `select ${schema}.append_in_order($1, $2::uuid, $3, $4)`;
    const insert = `insert into ${schema}.events (position, stream, revision, id, type, version, recorded_at, data)`;
    this.#appendMany = `${insert}
      select nextval('${schema}.positions'), $1, last.revision + e.number, e.id, e.type, 1, now(), e.data::json
      from (select coalesce(max(revision), -1) as revision from ${schema}.events where stream = $1) last,
        unnest($2::uuid[], $3::text[], $4::text[]) with ordinality as e(id, type, data, number)`;
    this.#appendTogether = `${insert}
      select nextval('${schema}.positions'), e.stream,
        coalesce((select max(revision) from ${schema}.events old where old.stream = e.stream), -1) + 1,
        e.id, e.type, 1, now(), e.data::json
      from unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) as e(stream, id, type, data)`;
    this.#copyIn = `copy ${schema}.events (position, stream, revision, id, type, version, recorded_at, data) from stdin`;
    this.#page = `select position, stream, revision, id, type, version, recorded_at, data::text, metadata::text
      from ${schema}.events where position > $1 order by position limit $2`;
  }

  /** Gives the tables what this side's statements need beside them; `head` is the position of the last event. */
  async prepare(head: number): Promise<void> {
    const { sql, schema } = this;
    await sql.unsafe(`create sequence ${schema}.positions start ${head + 1}`);
    await sql.unsafe(`create function ${schema}.append_in_order(name text, id uuid, type text, data text) returns void
      language plpgsql as $$ begin
        perform pg_advisory_xact_lock(1);
        ${appendOne(schema, 'name', 'id', 'type', 'data')};
      end $$`);
  }

  /** One event in a transaction of its own: the one that PostgreSQL makes for a single statement. */
  async appendOne(stream: string, event: Deposited | Withdrawn): Promise<void> {
    await this.#run(this.#appendOne, [stream, uuidv7(), typeOf(event), JSON.stringify(event)]);
  }

  /** The same under a lock, so that positions commit in order as Refold's do; with a notification if there is a channel. */
  async appendInOrder(stream: string, event: Deposited | Withdrawn, channel?: string): Promise<void> {
    const values = [stream, uuidv7(), typeOf(event), JSON.stringify(event)];
    if (channel === undefined) await this.#run(this.#appendInOrder, values);
    else await this.#run(`${this.#appendInOrder}, pg_notify($5, '')`, [...values, channel]);
  }

  /** One event, and a notification of it. */
  async appendNotifying(channel: string, stream: string, event: Deposited | Withdrawn): Promise<void> {
    await this.#run(this.#appendNotifying, [stream, uuidv7(), typeOf(event), JSON.stringify(event), channel]);
  }

  /** Events of one stream in one statement. */
  async appendMany(stream: string, events: readonly (Deposited | Withdrawn)[]): Promise<void> {
    await this.#run(this.#appendMany, [stream, ...columns(events)]);
  }

  /** One event each for several streams in one statement: what could at best be done for many callers. */
  async appendTogether(
    streams: readonly string[],
    events: readonly (Deposited | Withdrawn)[],
  ): Promise<void> {
    await this.#run(this.#appendTogether, [streams, ...columns(events)]);
  }

  /**
   * Copies events into streams that are new, so many a COPY. It gives them their revisions, and positions behind all others,
   * which nobody else may append to meanwhile.
   */
  async copy(items: Iterable<Item>, batchSize: number): Promise<void> {
    const revisions = new Map<string, number>();
    let position = await this.head();
    const source = items[Symbol.iterator]();
    for (let next = source.next(); !next.done;) {
      const target = await this.sql.unsafe(this.#copyIn).writable();
      let piece = '';
      for (let count = 0; count < batchSize && !next.done; count++, next = source.next()) {
        const { stream, event } = next.value;
        const revision = (revisions.get(stream) ?? -1) + 1;
        revisions.set(stream, revision);
        const data = JSON.stringify(event).replaceAll('\\', '\\\\');
        piece += `${++position}\t${stream}\t${revision}\t${uuidv7()}\t${typeOf(event)}\t1\t${new Date().toISOString()}\t${data}\n`;
        if (piece.length < PIECE) continue;
        await written(target, piece);
        piece = '';
      }
      await written(target, piece);
      await finished(target.end());
    }
    await this.sql.unsafe(`select setval('${this.schema}.positions', ${position})`);
  }

  /** The whole log, decoded, by the page. */
  async *read(limit = Infinity): AsyncGenerator<RawEvent[], void> {
    for (let after = 0; after < limit;) {
      const rows = await this.#rows(after, Math.min(PAGE, limit - after));
      if (rows.length === 0) return;
      yield rows.map(toEvent);
      after = Number(rows.at(-1)?.[0]);
    }
  }

  /** Projects the whole log into a new table. */
  async project(table: string): Promise<void> {
    const projection = await this.createProjection(table, 0);
    while ((await projection.step()) > 0);
  }

  /** A new table of documents with a checkpoint. */
  async createProjection(table: string, after: number): Promise<RawProjection> {
    const name = `${this.schema}.${table}`;
    await this.sql.unsafe(
      `create table ${name} (key text collate "C" primary key, document jsonb not null);
       create table ${name}_checkpoint (position bigint not null);
       insert into ${name}_checkpoint values (${after})`,
    );
    return new RawProjection(this.sql, name, after, (position) => this.#rows(position, BATCH));
  }

  async head(): Promise<number> {
    const [row] = await this.sql.unsafe<{ head: string }[]>(
      `select coalesce(max(position), 0) as head from ${this.schema}.events`,
    );
    return Number(row?.head);
  }

  /** The documents of a table, for checks. */
  async documents(table: string): Promise<Map<string, Statement>> {
    const rows = await this.sql.unsafe<{ key: string; document: Statement }[]>(
      `select key, document from ${this.schema}.${table}`,
    );
    return new Map(rows.map(({ key, document }) => [key, document]));
  }

  #run(statement: string, values: (string | readonly string[])[]): Promise<unknown> {
    return this.sql.unsafe(statement, values as postgres.ParameterOrJSON<never>[], PREPARED);
  }

  async #rows(after: number, limit: number): Promise<Row[]> {
    const rows: unknown[] = await this.sql.unsafe(this.#page, [after, limit], PREPARED).values();
    return rows as Row[];
  }

  async close(): Promise<void> {
    await this.sql.end();
  }
}

/** A fold by hand: a batch in memory, then its documents and the checkpoint in one transaction. */
class RawProjection {
  readonly #sql: postgres.Sql;
  readonly #advance: string;
  readonly #upsert: string;
  readonly #rowsAfter: (position: number) => Promise<Row[]>;
  readonly #documents = new Map<string, Statement>();
  #position: number;

  constructor(
    sql: postgres.Sql,
    table: string,
    position: number,
    rowsAfter: (position: number) => Promise<Row[]>,
  ) {
    this.#sql = sql;
    this.#position = position;
    this.#rowsAfter = rowsAfter;
    this.#advance = `update ${table}_checkpoint set position = $1`;
    this.#upsert = `insert into ${table} select * from unnest($1::text[], $2::text[]::jsonb[])
      on conflict (key) do update set document = excluded.document`;
  }

  /** Handles the next batch; returns how many events it had. */
  async step(handle: (event: RawEvent) => void = () => {}): Promise<number> {
    const rows = await this.#rowsAfter(this.#position);
    if (rows.length === 0) return 0;
    const touched = new Set<string>();
    for (const row of rows) {
      const event = toEvent(row);
      handle(event);
      touched.add(foldInto(this.#documents, event));
      this.#position = event.position;
    }
    const keys = [...touched];
    const documents = keys.map((key) => JSON.stringify(this.#documents.get(key)));
    await this.#sql.begin(async (transaction) => {
      await transaction.unsafe(this.#advance, [this.#position], PREPARED);
      await transaction.unsafe(this.#upsert, [keys, documents], PREPARED);
    });
    return rows.length;
  }
}

const PREPARED = { prepare: true };

/** One statement that gives the event the next revision of its stream and a position. */
export function appendOne(schema: string, stream: string, id: string, type: string, data: string): string {
  return `insert into ${schema}.events (position, stream, revision, id, type, version, recorded_at, data)
    values (nextval('${schema}.positions'), ${stream},
      coalesce((select max(revision) from ${schema}.events e where e.stream = ${stream}), -1) + 1,
      ${id}, ${type}, 1, now(), ${data}::text::json)`;
}

async function written(target: Writable, piece: string): Promise<void> {
  await new Promise<void>((resolve, reject) =>
    target.write(piece, (error) => (error ? reject(error) : resolve())),
  );
}

function columns(events: readonly (Deposited | Withdrawn)[]): [string[], string[], string[]] {
  return [
    events.map(() => uuidv7()),
    events.map((event) => typeOf(event)),
    events.map((event) => JSON.stringify(event)),
  ];
}

function typeOf(event: Deposited | Withdrawn): string {
  return event instanceof Withdrawn ? 'Withdrawn' : 'Deposited';
}

function toEvent(row: Row): RawEvent {
  return {
    position: Number(row[0]),
    stream: row[1],
    revision: Number(row[2]),
    id: row[3],
    type: row[4],
    recordedAt: row[6],
    metadata: row[8] === null ? undefined : JSON.parse(row[8]),
    data: toInstance(row),
  };
}

function toInstance(row: Row): Deposited | Withdrawn {
  const eventClass = row[4] === 'Withdrawn' ? Withdrawn : Deposited;
  return Object.assign(
    Object.create(eventClass.prototype) as Deposited | Withdrawn,
    JSON.parse(row[7]) as Movement,
  );
}

/** Folds one event into its account's document, and names that. */
function foldInto(documents: Map<string, Statement>, { stream, type, data }: RawEvent): string {
  const key = stream.slice(stream.indexOf('-') + 1);
  let statement = documents.get(key);
  if (!statement) documents.set(key, (statement = emptyStatement()));
  fold(statement, data, type === 'Withdrawn' ? -1 : 1);
  return key;
}
