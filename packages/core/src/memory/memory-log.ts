import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../clock.js';
import { DuplicateEventError } from '../errors.js';
import type { EventBatch } from '../store/event-reader.js';
import type { AppendResult, EventFilter, EventMetadata, RecordedEvent } from '../store/event-store.js';
import { conflictOf } from '../store/expected-revision.js';
import { categoryOf, type PreparedAppend } from '../store/prepare-append.js';
import type { ReadRange } from '../store/read-range.js';

/** An event as the log keeps it: its JSON as text, so that no reader shares objects with another. */
export interface StoredEvent {
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly stream: string;
  readonly revision: number;
  readonly position: number;
  readonly recordedAt: number;
  readonly data: string;
  readonly metadata: string | undefined;
}

/** Appends that are ready to be committed; until then only their own transaction reads them. */
export interface StagedAppends {
  readonly events: readonly StoredEvent[];
  readonly results: AppendResult[];
}

/** A batch looks at so many events at most, however few of them match its filter. */
const SCAN = 10_000;

const NO_METADATA: EventMetadata = Object.freeze({});

/** The log in arrays. Whoever stages and commits must do so one at a time. */
export class MemoryLog {
  readonly #clock: Clock;
  readonly #events: StoredEvent[] = [];
  readonly #streams = new Map<string, StoredEvent[]>();
  readonly #ids = new Map<string, StoredEvent>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get head(): number {
    return this.#events.length;
  }

  /** What an append of nothing returns. */
  current(stream: string, position = this.head): AppendResult {
    return { stream, revision: this.#revision(stream), position };
  }

  /** The results that these appends had before, if they are an exact repeat. @throws DuplicateEventError */
  earlierResults(appends: readonly PreparedAppend[]): AppendResult[] | undefined {
    const filled = appends.filter(({ events }) => events.length > 0);
    const known = filled
      .flatMap(({ stream, events }) => events.map(({ id }) => ({ id, stream })))
      .find(({ id }) => this.#ids.has(id));
    if (!known) return undefined;
    if (!filled.every((append) => this.#isRepeat(append)))
      throw new DuplicateEventError(known.id, known.stream);
    return appends.map(({ stream, events }) => {
      const last = this.#ids.get(events.at(-1)?.id ?? '');
      return last ? { stream, revision: last.revision, position: last.position } : this.current(stream);
    });
  }

  /** Checks the appends' conditions and gives their events their places. @throws RevisionConflictError */
  stage(appends: readonly PreparedAppend[]): StagedAppends {
    const recordedAt = Math.max(Math.floor(this.#clock.now()), this.#events.at(-1)?.recordedAt ?? 0);
    const events: StoredEvent[] = [];
    for (const { stream, expected, events: added } of appends) {
      if (added.length === 0) continue;
      let revision = this.#revision(stream);
      const conflict = conflictOf(stream, expected, revision);
      if (conflict) throw conflict;
      for (const { id, type, version, data, metadata } of added) {
        revision += 1;
        const position = this.head + events.length + 1;
        events.push({ id, type, version, stream, revision, position, recordedAt, data, metadata });
      }
    }
    const lasts = new Map(events.map((event) => [event.stream, event]));
    const results = appends.map(({ stream }) => {
      const last = lasts.get(stream);
      if (!last) return this.current(stream, this.head + events.length);
      return { stream, revision: last.revision, position: last.position };
    });
    return { events, results };
  }

  commit({ events }: StagedAppends): void {
    for (const event of events) {
      this.#events.push(event);
      this.#ids.set(event.id, event);
      const stream = this.#streams.get(event.stream);
      if (stream) stream.push(event);
      else this.#streams.set(event.stream, [event]);
    }
  }

  /** `check` runs before every batch; it throws when the store is closed. */
  readStream(stream: string, range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    const source = (): Rows => {
      const events = this.#streams.get(stream) ?? [];
      return { first: 0, last: events.length - 1, at: (revision) => events[revision] };
    };
    return readBatches(source, range, check);
  }

  /** Reads the log, and behind it what a transaction has staged. */
  readAll(
    range: ReadRange,
    check: () => void,
    staged: readonly StoredEvent[] = [],
  ): AsyncGenerator<EventBatch, void> {
    const source = (): Rows => ({
      first: 1,
      last: this.head + staged.length,
      at: (position) => this.#events[position - 1] ?? staged[position - 1 - this.head],
    });
    return readBatches(source, range, check);
  }

  #revision(stream: string): number {
    return (this.#streams.get(stream)?.length ?? 0) - 1;
  }

  #isRepeat({ stream, events }: PreparedAppend): boolean {
    const first = this.#ids.get(events[0]?.id ?? '');
    return events.every(({ id }, index) => {
      const stored = this.#ids.get(id);
      return first && stored?.stream === stream && stored.revision === first.revision + index;
    });
  }
}

/** Where events are found by consecutive numbers: revisions of a stream or positions of the log. */
interface Rows {
  readonly first: number;
  readonly last: number;
  readonly at: (number: number) => StoredEvent | undefined;
}

async function* readBatches(
  source: () => Rows,
  range: ReadRange,
  check: () => void,
): AsyncGenerator<EventBatch, void> {
  const forward = range.direction === 'forward';
  let left = range.limit;
  let next: number | undefined;
  while (left > 0) {
    // A turn of the event loop, so that a long read does not starve timers.
    if (next !== undefined) await setImmediate();
    range.signal?.throwIfAborted();
    check();
    const rows = source();
    const low = Math.max(range.after + 1, rows.first);
    const high = Math.min(range.to, rows.last);
    next ??= forward ? low : high;
    if (next < low || next > high) return;
    const batch = readBatch(rows, { ...range, limit: Math.min(left, range.batchSize) }, next, { low, high });
    yield batch;
    left -= batch.events.length;
    next = batch.through + (forward ? 1 : -1);
  }
}

function readBatch(
  rows: Rows,
  { direction, filter, limit }: ReadRange,
  start: number,
  { low, high }: { readonly low: number; readonly high: number },
): EventBatch {
  const step = direction === 'forward' ? 1 : -1;
  const matches = matcher(filter);
  const events: RecordedEvent[] = [];
  let at = start;
  for (let scanned = 0; at >= low && at <= high && scanned < SCAN && events.length < limit; scanned++) {
    const stored = rows.at(at);
    if (stored && matches(stored)) events.push(toRecorded(stored));
    at += step;
  }
  return { events, through: at - step };
}

function matcher(filter: EventFilter | undefined): (event: StoredEvent) => boolean {
  const types = filter?.types && new Set(filter.types);
  const categories = filter?.categories && new Set(filter.categories);
  return ({ type, stream }) =>
    (!types || types.has(type)) && (!categories || categories.has(categoryOf(stream)));
}

/** An event as readers get it, with data of its own. */
export function toRecorded({ data, metadata, recordedAt, ...event }: StoredEvent): RecordedEvent {
  return {
    ...event,
    recordedAt: new Date(recordedAt),
    metadata: metadata === undefined ? NO_METADATA : (JSON.parse(metadata) as EventMetadata),
    data: JSON.parse(data) as unknown,
  };
}
