import type { EventBatch, EventMetadata, ReadRange, RecordedEvent } from '@refold/core';
import { textArray } from './arrays.js';
import { query, translate, type Runner, type Value } from './connection.js';
import type { Schema } from './schema.js';

interface Row {
  /** Null where the head came without an event. */
  readonly position: string | null;
  readonly stream: string;
  readonly revision: string;
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly recorded: Date;
  readonly data: string;
  readonly metadata: string | null;
  /** The head of the log, where it was asked for. */
  readonly head?: string;
}

/** Events, and the head of the log if it was asked for. */
interface Page {
  readonly events: readonly RecordedEvent[];
  readonly head: number | undefined;
}

/** No underscore in a name, and JSON as text: a user's pool may rename columns and parse types in its own way. */
const COLUMNS =
  'position, stream, revision, id, type, version, recorded_at as recorded, data::text as data, metadata::text as metadata';

/** A filtered page looks at this many positions at most, so that a rare type never makes one statement long. */
const SCAN = 20_000;

/** How much JSON a page may hold, and what an event is taken to have before the first was seen. */
const PAGE_BYTES = 8 * 1024 * 1024;
const FIRST_GUESS_BYTES = 8 * 1024;

const NO_METADATA: EventMetadata = Object.freeze({});

/**
 * Reads the log by keyset pages, each a statement of its own: no transaction stays open in between, and no connection is
 * held. Because positions commit in order, a page never skips an event that commits later.
 */
export class LogReads {
  readonly #schema: Schema;
  #bytesPerEvent = FIRST_GUESS_BYTES;

  constructor(schema: Schema) {
    this.#schema = schema;
  }

  async head(runner: Runner): Promise<number> {
    const [row] = await read<{ head: string }>(runner, `select ${this.#schema.of('head')}() as head`);
    return Number(row?.head ?? 0);
  }

  /** `check` runs before every page; it throws when the store is closed or the transaction has ended. */
  async *readAll(runner: Runner, range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    if (range.direction === 'forward') yield* this.#readForward(runner, range, check);
    else yield* this.#readBackward(runner, range, check);
  }

  async *readStream(
    runner: Runner,
    stream: string,
    range: ReadRange,
    check: () => void,
  ): AsyncGenerator<EventBatch, void> {
    const forward = range.direction === 'forward';
    let { after, limit } = range;
    let to = Math.min(range.to, Number.MAX_SAFE_INTEGER);
    const sql = `select ${COLUMNS} from ${this.#schema.of(range.archived ? 'log' : 'events')}
      where stream = $1 and revision > $2::bigint and revision <= $3::bigint
      order by revision ${forward ? 'asc' : 'desc'} limit $4::int`;
    while (limit > 0 && after < to) {
      checkPage(range, check);
      const size = Math.min(limit, this.#pageSize(range));
      const { events } = await this.#page(runner, sql, [stream, after, to, size]);
      const last = events.at(-1);
      if (!last) return;
      yield { events, through: last.revision };
      if (events.length < size) return;
      limit -= events.length;
      if (forward) after = last.revision;
      else to = last.revision - 1;
    }
  }

  async *#readForward(runner: Runner, range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    let { after, limit } = range;
    let end = 0;
    while (limit > 0 && after < range.to) {
      checkPage(range, check);
      const size = Math.min(limit, this.#pageSize(range));
      // The head is asked for together with the page once it is reached: until then every page lies below it.
      const { events, head } = await this.#range(
        runner,
        range,
        after,
        forwardEnd(range, after),
        size,
        after >= end,
      );
      if (head !== undefined) end = head;
      const last = events.at(-1)?.position ?? after;
      // A page that is not full has all there is up to the head, or as far as it has looked.
      const through = events.length === size ? last : Math.max(last, Math.min(forwardEnd(range, after), end));
      if (through <= after) return;
      limit -= events.length;
      after = through;
      yield { events, through };
    }
  }

  async *#readBackward(
    runner: Runner,
    range: ReadRange,
    check: () => void,
  ): AsyncGenerator<EventBatch, void> {
    let limit = range.limit;
    checkPage(range, check);
    let to = Math.min(range.to, await this.head(runner));
    while (limit > 0 && to > range.after) {
      checkPage(range, check);
      const after = range.filter ? Math.max(range.after, to - SCAN) : range.after;
      const size = Math.min(limit, this.#pageSize(range));
      const { events } = await this.#range(runner, range, after, to, size, false);
      limit -= events.length;
      const through = events.length === size ? (events.at(-1)?.position ?? after + 1) : after + 1;
      to = through - 1;
      yield { events, through };
    }
  }

  /** The events behind `after`, up to `to`, and if it is wanted the head of the same moment. */
  #range(
    runner: Runner,
    { filter, direction }: ReadRange,
    after: number,
    to: number,
    size: number,
    withHead: boolean,
  ): Promise<Page> {
    const values: Value[] = [after, size];
    const conditions = ['position > $1::bigint'];
    if (to !== Infinity) conditions.push(`position <= $${values.push(to)}::bigint`);
    if (filter?.types) {
      conditions.push(`type = any($${values.push(textArray(filter.types))}::text[])`);
    }
    if (filter?.categories) {
      const categories = `$${values.push(textArray(filter.categories))}::text[]`;
      conditions.push(`split_part(stream, '-', 1) = any(${categories})`);
    }
    const ordered = `order by position ${direction === 'forward' ? 'asc' : 'desc'} limit $2::int`;
    // Each table by its own index and limit: over their union the planner may sort all of a range that it takes for short.
    const [hot, archived] = ['events', 'archived_events'].map(
      (table) =>
        `(select ${COLUMNS} from ${this.#schema.of(table)} where ${conditions.join(' and ')} ${ordered})`,
    );
    const page = `select * from (${hot} union all ${archived}) page ${ordered}`;
    // Materialized, or the head would be looked up for every row.
    const headAndPage = `with tip as materialized (select ${this.#schema.of('head')}() as head)
      select tip.head, page.* from tip left join (${page}) page on true order by position`;
    return this.#page(runner, withHead ? headAndPage : page, values);
  }

  async #page(runner: Runner, sql: string, values: readonly Value[]): Promise<Page> {
    const rows = await read<Row>(runner, sql, values);
    const head = rows[0]?.head === undefined ? undefined : Number(rows[0].head);
    if (head !== undefined && rows[0]?.position === null) return { events: [], head };
    let bytes = 0;
    for (const { data, metadata } of rows) bytes += data.length + (metadata?.length ?? 0);
    if (rows.length > 0) this.#bytesPerEvent = Math.max(64, bytes / rows.length);
    return { events: rows.map(toEvent), head };
  }

  #pageSize({ batchSize }: ReadRange): number {
    return Math.max(1, Math.min(batchSize, Math.floor(PAGE_BYTES / this.#bytesPerEvent)));
  }
}

async function read<Found extends object>(
  runner: Runner,
  sql: string,
  values?: readonly Value[],
): Promise<Found[]> {
  try {
    return await query<Found>(runner, sql, values);
  } catch (error) {
    throw translate(error, 'a read');
  }
}

function toEvent(row: Row): RecordedEvent {
  return {
    id: row.id,
    type: row.type,
    version: row.version,
    stream: row.stream,
    revision: Number(row.revision),
    position: Number(row.position),
    recordedAt: row.recorded,
    metadata: row.metadata === null ? NO_METADATA : (JSON.parse(row.metadata) as EventMetadata),
    data: JSON.parse(row.data) as unknown,
  };
}

/** Up to where a page that reads forward looks. */
function forwardEnd({ filter, to }: ReadRange, after: number): number {
  return filter ? Math.min(to, after + SCAN) : to;
}

function checkPage({ signal }: ReadRange, check: () => void): void {
  signal?.throwIfAborted();
  check();
}
