import {
  DuplicateEventError,
  ImportConflictError,
  ImportItemError,
  placeImport,
  type ImportChunk,
  type PlacedImport,
} from '@refold/core';
import type { Writable } from 'node:stream';
import type postgres from 'postgres';
import { plainArray, textArray } from './arrays.js';
import { codeOf, query, type Runner, type Sessions } from './connection.js';
import { ARCHIVED_BELOW } from './log-writes.js';
import type { Schema } from './schema.js';

/** What `begin_import` answers; see migrations/002-state.sql. */
type Begun = [imported: number, head: number, recordedAt: number, now: number, archivedStreams: boolean];

export interface ImporterOptions {
  readonly lockTimeoutMs: number;
  readonly notify: boolean;
}

/** The revisions of so many streams are kept between chunks at most. */
const KEPT_REVISIONS = 500_000;

/** Rows go to the connection in pieces of about this many characters. */
const PIECE = 128 * 1024;

/** Writes the chunks of one call of `import`, each by one COPY under the lock of appends. */
export class Importer {
  readonly #schema: Schema;
  readonly #lockTimeoutMs: number;
  readonly #channel: string | null;
  /** Revisions as the last chunk left them: true as long as nobody else has appended. */
  #revisions = new Map<string, number | 'archived'>();
  #head = -1;

  constructor(schema: Schema, { lockTimeoutMs, notify }: ImporterOptions) {
    this.#schema = schema;
    this.#lockTimeoutMs = Math.max(1, Math.round(lockTimeoutMs));
    this.#channel = notify ? schema.channel : null;
  }

  /** How many items of an import are in the log. */
  async imported(runner: Runner, name: string): Promise<number> {
    const sql = `select imported from ${this.#schema.of('imports')} where name = $1`;
    const [row] = await query<{ imported: string }>(runner, sql, [name]);
    return Number(row?.imported ?? 0);
  }

  /** Writes a chunk in a transaction of its own; returns the head. @throws ImportConflictError, ImportItemError */
  async write(sql: Sessions, chunk: ImportChunk): Promise<number> {
    try {
      this.#head = await sql.begin((transaction) => this.#writeIn(transaction, chunk));
      return this.#head;
    } catch (error) {
      this.#forget();
      throw codeOf(error) === FAILED_COPY || codeOf(error) === UNIQUE_VIOLATION
        ? await this.#explained(sql, chunk, error)
        : error;
    }
  }

  async #writeIn(transaction: postgres.TransactionSql, chunk: ImportChunk): Promise<number> {
    const { name, after, items } = chunk;
    const begin = `select ${this.#schema.of('begin_import')}($1, $2::int) as answer`;
    const [row] = await query<{ answer: Begun }>(transaction, begin, [name, this.#lockTimeoutMs]);
    if (!row) throw new Error('The import function gave no answer');
    const [imported, position, recordedAt, now, archivedStreams] = row.answer;
    if (imported !== after) throw new ImportConflictError(name, after, imported);
    // An append moves the head; that somebody closes a stream does not.
    if (position !== this.#head || archivedStreams) this.#forget();
    await this.#loadRevisions(transaction, chunk);
    const placed = placeImport(chunk, { position, recordedAt, now }, this.#revisions);
    const head = position + items.length;
    const end = `select ${this.#schema.of('end_import')}($1, $2::bigint, $3::bigint, $4::bigint, $5) as archived`;
    const values = [name, after + items.length, position, head, this.#channel];
    const copied = await this.#copy(transaction, placed, () =>
      query<{ archived: string | null }>(transaction, end, values),
    );
    const archived = copied[0]?.archived;
    if (archived) throw duplicateItem(chunk, (id) => id === archived);
    return head;
  }

  /** One query for the streams of a chunk that are not known. */
  async #loadRevisions(runner: Runner, chunk: ImportChunk): Promise<void> {
    if (this.#revisions.size > KEPT_REVISIONS) this.#forget();
    const unknown = new Set<string>();
    for (const { stream } of chunk.items) if (!this.#revisions.has(stream)) unknown.add(stream);
    if (unknown.size === 0) return;
    const names = [...unknown];
    const sql = `select ${this.#schema.of('revisions')}($1::text[]) as answer`;
    const [row] = await query<{ answer: number[] }>(runner, sql, [textArray(names)]);
    names.forEach((name, index) => {
      const revision = row?.answer[index] ?? -1;
      this.#revisions.set(name, revision < ARCHIVED_BELOW ? 'archived' : revision);
    });
  }

  /**
   * Copies events in, and runs the statement behind it. The driver never settles its stream when the server refuses a COPY
   * at its end, so the stream's own end is not waited for: the next statement of the transaction tells, which fails if
   * the COPY has.
   */
  async #copy<Result>(
    transaction: postgres.TransactionSql,
    events: readonly PlacedImport[],
    next: () => Promise<Result>,
  ): Promise<Result> {
    const columns = 'position, stream, revision, id, type, version, recorded_at, data, metadata';
    const statement = `copy ${this.#schema.of('events')} (${columns}) from stdin`;
    const stream = await transaction.unsafe(statement).writable();
    let failure: Error | undefined;
    stream.on('error', (error) => (failure ??= error));
    for (const piece of piecesOf(events)) {
      if (failure) break;
      await written(stream, piece);
    }
    // Nothing is pending, so this tells the server that the COPY is complete before anything else is sent.
    if (!failure) stream.end();
    try {
      return await next();
    } catch (error) {
      throw failure ?? error;
    }
  }

  /** A COPY that failed for an id that is taken names its item. */
  async #explained(sql: Sessions, chunk: ImportChunk, error: unknown): Promise<unknown> {
    const ids = chunk.items.map(({ id }) => id);
    const statement = `select id from ${this.#schema.of('log')} where id = any($1::uuid[])`;
    const rows = await query<{ id: string }>(sql, statement, [plainArray(ids)]);
    const taken = new Set(rows.map(({ id }) => id));
    if (taken.size > 0) return duplicateItem(chunk, (id) => taken.has(id));
    return new Error("The server refused a COPY of events, for a reason that the server's log tells", {
      cause: error,
    });
  }

  #forget(): void {
    this.#revisions = new Map();
    this.#head = -1;
  }
}

const UNIQUE_VIOLATION = '23505';

/** A statement behind one that failed: the transaction is to be undone. */
const FAILED_COPY = '25P02';

function duplicateItem({ name, after, items }: ImportChunk, isTaken: (id: string) => boolean): Error {
  const index = items.findIndex(({ id }) => isTaken(id));
  const { id = '', stream = '' } = items[index] ?? {};
  return new ImportItemError(name, after + index + 1, stream, new DuplicateEventError(id, stream));
}

async function written(stream: Writable, piece: string): Promise<void> {
  await new Promise<void>((resolve) => stream.write(piece, () => resolve()));
}

/** Rows in the text format of COPY. */
function* piecesOf(events: readonly PlacedImport[]): Generator<string> {
  let piece = '';
  let time = -1;
  let recorded = '';
  for (const { position, stream, revision, id, type, version, recordedAt, data, metadata } of events) {
    if (recordedAt !== time) {
      time = recordedAt;
      recorded = new Date(recordedAt).toISOString();
    }
    piece += `${position}\t${field(stream)}\t${revision}\t${id}\t${field(type)}\t${version}\t${recorded}\t${field(data)}\t${
      metadata === undefined ? '\\N' : field(metadata)
    }\n`;
    if (piece.length < PIECE) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}

/** JSON and names have no control characters, so only the backslash has a meaning of its own. */
function field(text: string): string {
  return text.includes('\\') ? text.replaceAll('\\', '\\\\') : text;
}
