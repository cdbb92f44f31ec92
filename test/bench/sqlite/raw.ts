import Database from 'better-sqlite3';
import { v7 as uuidv7 } from 'uuid';
import { Deposited, emptyStatement, fold, Withdrawn, type Movement, type Statement } from '../accounts.js';

type Row = [
  position: number,
  stream: string,
  revision: number,
  id: string,
  type: 'Deposited' | 'Withdrawn',
  version: number,
  recordedAt: number,
  data: string,
  metadata: string | null,
];

/** An event as hand-written code hands it on. */
export interface RawEvent {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: 'Deposited' | 'Withdrawn';
  readonly recordedAt: Date;
  readonly metadata: unknown;
  readonly data: Deposited | Withdrawn;
}

const COLUMNS = 'position, stream, revision, id, type, version, recorded_at, data, metadata';

/** Events a page of a read, and a batch of a projection: those that Refold takes by default. */
const PAGE = 1000;
const BATCH = 5000;

/**
 * The baseline: better-sqlite3 by hand, on a copy of the file, so with the same schema, indexes, rows and pages, and with
 * the same pragmas. It does what an application without a framework would do well: prepared statements, arrays for rows,
 * one transaction a batch.
 */
export class RawSqlite {
  readonly #writer: Database.Database;
  readonly #reader: Database.Database;
  readonly #insert: Database.Statement<unknown[]>;
  readonly #revision: Database.Statement<unknown[]>;
  readonly #appendOne: Database.Statement<unknown[]>;
  readonly #page: Database.Statement<unknown[]>;
  readonly #stream: Database.Statement<unknown[]>;
  readonly #snapshot: Database.Statement<unknown[]>;

  constructor(file: string) {
    this.#writer = new Database(file);
    this.#writer.pragma('journal_mode = wal');
    this.#writer.pragma('synchronous = full');
    this.#writer.pragma('fullfsync = on');
    this.#writer.pragma('foreign_keys = on');
    this.#writer.pragma('wal_autocheckpoint = 10000');
    this.#writer.pragma('cache_size = -32000');
    this.#writer.pragma('temp_store = memory');
    this.#reader = new Database(file, { readonly: true });
    this.#reader.pragma('cache_size = -16000');
    // The position is the rowid: SQLite gives out the next one.
    this.#insert = this.#writer.prepare(
      `insert into refold_events (stream, revision, id, type, version, recorded_at, data) values (?, ?, ?, ?, 1, ?, ?)`,
    );
    this.#revision = this.#writer
      .prepare<unknown[]>('select coalesce(max(revision), -1) from refold_events where stream = ?')
      .pluck();
    this.#appendOne = this.#writer.prepare(
      `insert into refold_events (stream, revision, id, type, version, recorded_at, data)
       values (?, (select coalesce(max(revision), -1) + 1 from refold_events where stream = ?), ?, ?, 1, ?, ?)`,
    );
    this.#page = this.#reader
      .prepare<unknown[]>(`select ${COLUMNS} from refold_events where position > ? order by position limit ?`)
      .raw();
    this.#stream = this.#reader
      .prepare<unknown[]>(
        `select ${COLUMNS} from refold_events where stream = ? and revision > ? order by revision`,
      )
      .raw();
    this.#snapshot = this.#reader
      .prepare<unknown[]>('select state, revision from refold_snapshots where stream = ?')
      .raw();
  }

  /** One event in a transaction of its own: the one that SQLite makes for a single statement. */
  appendOne(stream: string, event: Deposited | Withdrawn): void {
    this.#appendOne.run(stream, stream, uuidv7(), typeOf(event), Date.now(), JSON.stringify(event));
  }

  /** One transaction. */
  append(appends: readonly { stream: string; events: readonly (Deposited | Withdrawn)[] }[]): void {
    this.#writer
      .transaction(() => {
        const now = Date.now();
        for (const { stream, events } of appends) {
          let revision = Number(this.#revision.get(stream));
          for (const event of events) {
            revision += 1;
            this.#insert.run(stream, revision, uuidv7(), typeOf(event), now, JSON.stringify(event));
          }
        }
      })
      .immediate();
  }

  /** The whole log, decoded, by the page. */
  *read(limit = Infinity): Generator<RawEvent[], void> {
    for (let after = 0; after < limit;) {
      const rows = this.#rows(after, Math.min(PAGE, limit - after));
      if (rows.length === 0) return;
      yield rows.map(toEvent);
      after = rows.at(-1)?.[0] ?? after;
    }
  }

  /** Stored rows, undecoded, by the page. */
  *readRows(limit = Infinity): Generator<Row[], void> {
    for (let after = 0; after < limit;) {
      const rows = this.#rows(after, Math.min(PAGE, limit - after));
      if (rows.length === 0) return;
      yield rows;
      after = rows.at(-1)?.[0] ?? after;
    }
  }

  /** Folds a stream into a statement, from its snapshot if it is asked for. */
  load(stream: string, { snapshot = false }: { readonly snapshot?: boolean } = {}): Statement {
    const found = snapshot ? (this.#snapshot.get(stream) as [string, number] | undefined) : undefined;
    const statement = found ? (JSON.parse(found[0]) as Statement) : emptyStatement();
    for (const row of this.#stream.all(stream, found?.[1] ?? -1) as Row[]) {
      fold(statement, toInstance(row), row[4] === 'Withdrawn' ? -1 : 1);
    }
    return statement;
  }

  saveSnapshot(stream: string, revision: number, state: Statement): void {
    this.#writer
      .prepare('insert into refold_snapshots (stream, revision, version, state) values (?, ?, 1, ?)')
      .run(stream, revision, JSON.stringify(state));
  }

  /** Projects the whole log into a new table: fold a batch in memory, then documents and checkpoint in one transaction. */
  project(table: string, onBatch: (events: number) => void = () => {}): void {
    this.#writer.exec(
      `create table ${table} (key text primary key, document text not null) strict, without rowid;
       create table ${table}_checkpoint (position integer not null) strict;
       insert into ${table}_checkpoint values (0)`,
    );
    const upsert = this.#writer.prepare(
      `insert into ${table} values (?, ?) on conflict (key) do update set document = excluded.document`,
    );
    const advance = this.#writer.prepare(`update ${table}_checkpoint set position = ?`);
    const documents = new Map<string, Statement>();
    const commit = this.#writer.transaction((touched: ReadonlySet<string>, through: number) => {
      for (const key of touched) upsert.run(key, JSON.stringify(documents.get(key)));
      advance.run(through);
    });
    for (let after = 0; ;) {
      const rows = this.#rows(after, BATCH);
      if (rows.length === 0) return;
      const touched = new Set<string>();
      for (const row of rows) touched.add(foldInto(documents, toEvent(row)));
      after = rows.at(-1)?.[0] ?? after;
      commit.immediate(touched, after);
      onBatch(rows.length);
    }
  }

  /** The documents of a table, for checks. */
  documents(table: string): Map<string, Statement> {
    const rows = this.#reader.prepare(`select key, document from ${table}`).raw().all() as [string, string][];
    return new Map(rows.map(([key, document]) => [key, JSON.parse(document) as Statement]));
  }

  /** The sums of what was appended behind a position, for checks. */
  tail(after: number): Tail {
    return this.#reader
      .prepare(
        `select count(*) as count, coalesce(max(position), 0) as head, coalesce(sum(revision), 0) as revisions,
           coalesce(sum(json_extract(data, '$.amount')), 0) as amounts
         from refold_events where position > ?`,
      )
      .get(after) as Tail;
  }

  head(): number {
    return Number(this.#reader.prepare('select coalesce(max(position), 0) from refold_events').pluck().get());
  }

  close(): void {
    this.#reader.close();
    this.#writer.close();
  }

  #rows(after: number, limit: number): Row[] {
    return this.#page.all(after, limit) as Row[];
  }
}

export interface Tail {
  readonly count: number;
  readonly head: number;
  readonly revisions: number;
  readonly amounts: number;
}

function typeOf(event: Deposited | Withdrawn): string {
  return event instanceof Withdrawn ? 'Withdrawn' : 'Deposited';
}

function toEvent(row: Row): RawEvent {
  return {
    position: row[0],
    stream: row[1],
    revision: row[2],
    id: row[3],
    type: row[4],
    recordedAt: new Date(row[6]),
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
