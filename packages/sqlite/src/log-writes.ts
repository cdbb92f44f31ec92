import {
  conflictOf,
  DuplicateEventError,
  ImportItemError,
  placeImport,
  StreamArchivedError,
  type AppendResult,
  type Clock,
  type ImportChunk,
  type PreparedAppend,
  type PreparedEvent,
  type RecordedEvent,
} from '@refold/core';
import type Database from 'better-sqlite3';
import { toEvent } from './log-reads.js';
import type { Statement, Statements } from './statements.js';

interface Stored {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
}

/** What one group of appends knows of the log while it writes: nobody else writes meanwhile. */
export interface Tip {
  position: number;
  recordedAt: number;
}

/** Writes the log; every method runs inside the writer's transaction. */
export class LogWrites {
  readonly #database: Database.Database;
  readonly #statements: Statements;
  readonly #clock: Clock;

  constructor(database: Database.Database, statements: Statements, clock: Clock) {
    this.#database = database;
    this.#statements = statements;
    this.#clock = clock;
  }

  /** The end of the log, read when a group begins; times never go backward, whatever the clock does. */
  tip(): Tip {
    const { position, recordedAt } = this.#last();
    return { position, recordedAt: Math.max(Math.floor(this.#clock.now()), recordedAt) };
  }

  /** Moves events of a stream to the archive; returns how many. */
  truncate(stream: string, before: number): number {
    const columns = 'position, stream, revision, id, type, version, recorded_at, data, metadata';
    this.#statements
      .run(
        `insert into refold_archived_events (${columns})
         select ${columns} from refold_events where stream = ? and revision < ?`,
      )
      .run(stream, before);
    return this.#statements
      .run('delete from refold_events where stream = ? and revision < ?')
      .run(stream, before).changes;
  }

  /** Moves all events of a stream to the archive and closes it, if it exists. */
  archive(stream: string): number {
    const moved = this.truncate(stream, Number.MAX_SAFE_INTEGER);
    if (revisionOf(this.#statements, stream) >= 0) {
      this.#statements
        .run('insert into refold_archived_streams (stream, archived_at) values (?, ?) on conflict do nothing')
        .run(stream, Math.floor(this.#clock.now()));
    }
    return moved;
  }

  reopen(stream: string): void {
    this.#statements.run('delete from refold_archived_streams where stream = ?').run(stream);
  }

  savepoint(): void {
    this.#statements.run('savepoint one_append').run();
  }

  release(): void {
    this.#statements.run('release one_append').run();
  }

  rollback(): void {
    this.#database.exec('rollback to one_append; release one_append');
  }

  /**
   * Writes one append. Its events are all there or, where several were to be, to be undone by the caller's savepoint.
   * @throws RevisionConflictError, StreamArchivedError, or SQLite's constraint error for an id that is taken
   */
  write({ stream, expected, events }: PreparedAppend, tip: Tip): AppendResult {
    const last = this.#openRevision(stream);
    if (last === undefined) throw new StreamArchivedError(stream);
    let revision = last;
    const conflict = conflictOf(stream, expected, revision);
    if (conflict) throw conflict;
    const insert = this.#insert();
    let { position } = tip;
    for (const { id, type, version, data, metadata } of events) {
      position += 1;
      revision += 1;
      insert.run(position, stream, revision, id, type, version, tip.recordedAt, data, metadata ?? null);
    }
    tip.position = position;
    return { stream, revision, position };
  }

  /**
   * The results that these appends had before, if they are an exact repeat; undefined if none of their ids is known.
   * @throws DuplicateEventError if some are
   */
  earlierResults(appends: readonly PreparedAppend[]): AppendResult[] | undefined {
    const filled = appends.filter(({ events }) => events.length > 0);
    const earlier = filled.map((append) => this.#earlierResult(append));
    if (earlier.every((result) => result !== undefined)) {
      return appends.map(
        ({ stream }) => earlier.find((one) => one.stream === stream) ?? this.current(stream),
      );
    }
    for (const { stream, events } of filled) {
      const known = events.find(({ id }) => this.#stored(id));
      if (known) throw new DuplicateEventError(known.id, stream);
    }
    return undefined;
  }

  /** Writes a chunk of an import; the caller's transaction undoes it if it throws. @throws ImportItemError */
  import(chunk: ImportChunk): number {
    const last = this.#last();
    const insert = this.#insert();
    const revisions = new Map<string, number | 'archived'>();
    for (const { stream } of chunk.items) {
      if (!revisions.has(stream)) revisions.set(stream, this.#openRevision(stream) ?? 'archived');
    }
    const placed = placeImport(chunk, { ...last, now: Math.floor(this.#clock.now()) }, revisions);
    for (const [index, event] of placed.entries()) {
      const { position, stream, revision, id, type, version, recordedAt, data, metadata } = event;
      try {
        insert.run(position, stream, revision, id, type, version, recordedAt, data, metadata ?? null);
      } catch (error) {
        if (!this.#stored(id)) throw error;
        const duplicate = new DuplicateEventError(id, stream);
        throw new ImportItemError(chunk.name, chunk.after + index + 1, stream, duplicate);
      }
    }
    return last.position + placed.length;
  }

  /** How many items of an import are in the log. */
  imported(name: string): number {
    return importedOf(this.#statements, name);
  }

  setImported(name: string, imported: number): void {
    this.#statements
      .run(
        `insert into refold_imports (name, imported) values (?, ?)
         on conflict (name) do update set imported = excluded.imported`,
      )
      .run(name, imported);
  }

  /** What an append of nothing returns. */
  current(stream: string): AppendResult {
    return { stream, revision: revisionOf(this.#statements, stream), position: this.tip().position };
  }

  /** What an append wrote, as a reader will see it. */
  written(
    { stream, events }: PreparedAppend,
    { revision, position }: AppendResult,
    tip: Tip,
  ): RecordedEvent[] {
    return events.map(({ id, type, version, data, metadata }, index) => {
      const behind = events.length - 1 - index;
      const at = revision - behind;
      return toEvent([
        position - behind,
        stream,
        at,
        id,
        type,
        version,
        tip.recordedAt,
        data,
        metadata ?? null,
      ]);
    });
  }

  #earlierResult({ stream, events }: PreparedAppend): AppendResult | undefined {
    const first = this.#stored(events[0]?.id ?? '');
    if (!first) return undefined;
    const same = (event: PreparedEvent, index: number): boolean => {
      const stored = this.#stored(event.id);
      return stored?.stream === stream && stored.revision === first.revision + index;
    };
    if (!events.every(same)) return undefined;
    const last = events.length - 1;
    return { stream, revision: first.revision + last, position: first.position + last };
  }

  /** The revision of a stream; undefined for one that is closed. */
  #openRevision(stream: string): number | undefined {
    const hot = this.#statements.values(LAST_HOT).get(stream);
    if (typeof hot === 'number') return hot;
    const closed = 'select 1 from refold_archived_streams where stream = ?';
    return this.#statements.values(closed).get(stream) === undefined
      ? revisionOf(this.#statements, stream)
      : undefined;
  }

  #last(): Tip {
    const last = this.#statements
      .objects(
        `select position, recorded_at as recordedAt from refold_events
         where position = (select max(position) from refold_events)
         union all
         select position, recorded_at from refold_archived_events
         where position = (select max(position) from refold_archived_events)
         order by position desc limit 1`,
      )
      .get() as Tip | undefined;
    return last ?? { position: 0, recordedAt: 0 };
  }

  #insert(): Statement {
    return this.#statements.run(
      `insert into refold_events (position, stream, revision, id, type, version, recorded_at, data, metadata)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
  }

  #stored(id: string): Stored | undefined {
    return this.#statements
      .objects(
        `select position, stream, revision from refold_events where id = ?
         union all select position, stream, revision from refold_archived_events where id = ?`,
      )
      .get(id, id) as Stored | undefined;
  }
}

const LAST_HOT = 'select max(revision) from refold_events where stream = ?';

/** The revision of a stream, archived or not, as one connection sees it; -1 for one that does not exist. */
export function revisionOf(statements: Statements, stream: string): number {
  const hot = statements.values(LAST_HOT).get(stream);
  if (typeof hot === 'number') return hot;
  const archived = 'select max(revision) from refold_archived_events where stream = ?';
  const last = statements.values(archived).get(stream);
  return typeof last === 'number' ? last : -1;
}

/** How many items of an import are in the log, as one connection sees it. */
export function importedOf(statements: Statements, name: string): number {
  return Number(statements.values('select imported from refold_imports where name = ?').get(name) ?? 0);
}
