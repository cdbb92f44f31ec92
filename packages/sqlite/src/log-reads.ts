import { setImmediate } from 'node:timers/promises';
import type { EventBatch, EventMetadata, ReadRange, RecordedEvent } from '@refold/core';
import type { Statements } from './statements.js';

type Row = [
  position: number,
  stream: string,
  revision: number,
  id: string,
  type: string,
  version: number,
  recordedAt: number,
  data: string,
  metadata: string | null,
];

const COLUMNS = 'position, stream, revision, id, type, version, recorded_at, data, metadata';

const HEAD = `select max(
  coalesce((select max(position) from refold_events), 0),
  coalesce((select max(position) from refold_archived_events), 0))`;

/** A filtered page looks at this many positions at most, so that a rare type never blocks the event loop for long. */
const SCAN = 20_000;

/** How much JSON a page may hold, and what an event is taken to have before the first was seen. */
const PAGE_BYTES = 8 * 1024 * 1024;
const FIRST_GUESS_BYTES = 8 * 1024;

const NO_METADATA: EventMetadata = Object.freeze({});

/**
 * Reads the log page by page through one connection. A page is one statement, so no read stays open in between, and
 * every page leaves the event loop a turn: SQLite itself never waits.
 */
export class LogReads {
  readonly #statements: Statements;
  #bytesPerEvent = FIRST_GUESS_BYTES;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  head(): number {
    return Number(this.#statements.values(HEAD).get());
  }

  /** `check` runs before every page; it throws when the store is closed or the transaction has ended. */
  async *readAll(range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    if (range.direction === 'forward') yield* this.#readForward(range, check);
    else yield* this.#readBackward(range, check);
  }

  async *readStream(stream: string, range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    const forward = range.direction === 'forward';
    let { after, limit } = range;
    let to = Math.min(range.to, Number.MAX_SAFE_INTEGER);
    while (limit > 0 && after < to) {
      checkPage(range, check);
      const size = Math.min(limit, this.#pageSize(range));
      const sql = `${selection('stream = ? and revision > ? and revision <= ?', range)}
        order by revision ${forward ? 'asc' : 'desc'} limit ?`;
      const rows = this.#page(sql, [...twice([stream, after, to], range), size]);
      const last = rows.at(-1);
      if (!last) return;
      yield { events: rows, through: last.revision };
      if (rows.length < size) return;
      await setImmediate();
      limit -= rows.length;
      if (forward) after = last.revision;
      else to = last.revision - 1;
    }
  }

  async *#readForward(range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    let { after, limit } = range;
    while (limit > 0) {
      checkPage(range, check);
      const end = Math.min(range.to, this.head());
      if (after >= end) return;
      const through = range.filter ? Math.min(end, after + SCAN) : end;
      const size = Math.min(limit, this.#pageSize(range));
      const rows = this.#range(range, after, through, size);
      limit -= rows.length;
      after = rows.length === size ? (rows.at(-1)?.position ?? through) : through;
      yield { events: rows, through: after };
      await setImmediate();
    }
  }

  async *#readBackward(range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    let limit = range.limit;
    let to = Math.min(range.to, this.head());
    while (limit > 0 && to > range.after) {
      checkPage(range, check);
      const after = range.filter ? Math.max(range.after, to - SCAN) : range.after;
      const size = Math.min(limit, this.#pageSize(range));
      const rows = this.#range(range, after, to, size);
      limit -= rows.length;
      const through = rows.length === size ? (rows.at(-1)?.position ?? after + 1) : after + 1;
      to = through - 1;
      yield { events: rows, through };
      await setImmediate();
    }
  }

  #range(range: ReadRange, after: number, to: number, size: number): RecordedEvent[] {
    const conditions = ['position > ?', 'position <= ?'];
    const values: unknown[] = [after, to];
    const { filter, direction } = range;
    for (const [column, names] of [
      ['type', filter?.types],
      ['category', filter?.categories],
    ] as const) {
      if (!names) continue;
      conditions.push(`${column} in (select value from json_each(?))`);
      values.push(JSON.stringify(names));
    }
    const sql = `${selection(conditions.join(' and '), range)}
      order by position ${direction === 'forward' ? 'asc' : 'desc'} limit ?`;
    return this.#page(sql, [...twice(values, range), size]);
  }

  #page(sql: string, values: readonly unknown[]): RecordedEvent[] {
    const rows = this.#statements.arrays(sql).all(...values) as Row[];
    let bytes = 0;
    const events = rows.map((row) => {
      bytes += row[7].length;
      return toEvent(row);
    });
    if (rows.length > 0) this.#bytesPerEvent = Math.max(64, bytes / rows.length);
    return events;
  }

  #pageSize({ batchSize }: ReadRange): number {
    return Math.max(1, Math.min(batchSize, Math.floor(PAGE_BYTES / this.#bytesPerEvent)));
  }
}

/** A row as an event. */
export function toEvent(row: Row): RecordedEvent {
  const metadata = row[8];
  return {
    id: row[3],
    type: row[4],
    version: row[5],
    stream: row[1],
    revision: row[2],
    position: row[0],
    recordedAt: new Date(row[6]),
    metadata: metadata === null ? NO_METADATA : (JSON.parse(metadata) as EventMetadata),
    data: JSON.parse(row[7]) as unknown,
  };
}

/** Rows of the hot path, and of the archive where that is read too: SQLite merges them in the order that is asked for. */
function selection(condition: string, { archived }: ReadRange): string {
  const hot = `select ${COLUMNS} from refold_events where ${condition}`;
  return archived ? `${hot} union all select ${COLUMNS} from refold_archived_events where ${condition}` : hot;
}

function twice(values: readonly unknown[], { archived }: ReadRange): unknown[] {
  return archived ? [...values, ...values] : [...values];
}

function checkPage({ signal }: ReadRange, check: () => void): void {
  signal?.throwIfAborted();
  check();
}
