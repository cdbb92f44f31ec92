import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../clock.js';
import { DuplicateEventError, ImportItemError, StreamArchivedError } from '../errors.js';
import type { EventBatch } from '../store/event-reader.js';
import type { AppendResult, EventFilter, EventMetadata, RecordedEvent } from '../store/event-store.js';
import { conflictOf } from '../store/expected-revision.js';
import { placeImport, type ImportChunk } from '../store/importing.js';
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

/** What appends have written, and what they return. */
export interface WrittenAppends {
  readonly events: readonly StoredEvent[];
  readonly results: AppendResult[];
}

/** A batch looks at so many events at most, however few of them match its filter. */
const SCAN = 10_000;

const NO_METADATA: EventMetadata = Object.freeze({});

/**
 * The log in arrays, alone or as a layer over another log: what is written to a layer shows only through it, until
 * `commit` moves it down. Whoever writes must do so one at a time, and none below a layer.
 */
export class MemoryLog {
  readonly #clock: Clock;
  readonly #below: MemoryLog | undefined;
  readonly #events: StoredEvent[] = [];
  readonly #streams = new Map<string, StoredEvent[]>();
  readonly #ids = new Map<string, StoredEvent>();
  /** The lowest revision of a stream that is not archived. */
  readonly #archivedBelow = new Map<string, number>();
  readonly #closed = new Set<string>();

  constructor(clock: Clock, below?: MemoryLog) {
    this.#clock = clock;
    this.#below = below;
  }

  get head(): number {
    return (this.#below?.head ?? 0) + this.#events.length;
  }

  /** What an append of nothing returns. */
  current(stream: string, position = this.head): AppendResult {
    return { stream, revision: this.#length(stream) - 1, position };
  }

  /** The results that these appends had before, if they are an exact repeat. @throws DuplicateEventError */
  earlierResults(appends: readonly PreparedAppend[]): AppendResult[] | undefined {
    const filled = appends.filter(({ events }) => events.length > 0);
    const known = filled
      .flatMap(({ stream, events }) => events.map(({ id }) => ({ id, stream })))
      .find(({ id }) => this.#byId(id));
    if (!known) return undefined;
    if (!filled.every((append) => this.#isRepeat(append)))
      throw new DuplicateEventError(known.id, known.stream);
    return appends.map(({ stream, events }) => {
      const last = this.#byId(events.at(-1)?.id ?? '');
      return last ? { stream, revision: last.revision, position: last.position } : this.current(stream);
    });
  }

  /** Checks the appends' conditions, and writes them all or none. @throws RevisionConflictError, StreamArchivedError */
  append(appends: readonly PreparedAppend[]): WrittenAppends {
    const recordedAt = Math.max(Math.floor(this.#clock.now()), this.#last()?.recordedAt ?? 0);
    const events: StoredEvent[] = [];
    for (const { stream, expected, events: added } of appends) {
      if (added.length === 0) continue;
      if (this.#isClosed(stream)) throw new StreamArchivedError(stream);
      let revision = this.#length(stream) - 1;
      const conflict = conflictOf(stream, expected, revision);
      if (conflict) throw conflict;
      for (const { id, type, version, data, metadata } of added) {
        revision += 1;
        const position = this.head + events.length + 1;
        events.push({ id, type, version, stream, revision, position, recordedAt, data, metadata });
      }
    }
    for (const event of events) this.#add(event);
    return { events, results: appends.map(({ stream }) => this.#resultOf(stream, events)) };
  }

  /** Writes a chunk of an import, all or nothing. @throws ImportItemError */
  import(chunk: ImportChunk): void {
    const recordedAt = this.#last()?.recordedAt ?? 0;
    const { name, after, items } = chunk;
    const known = items.findIndex(({ id }) => this.#byId(id));
    const one = items[known];
    if (one) {
      const duplicate = new DuplicateEventError(one.id, one.stream);
      throw new ImportItemError(name, after + known + 1, one.stream, duplicate);
    }
    const revisionOf = (stream: string): number | 'archived' =>
      this.#isClosed(stream) ? 'archived' : this.#length(stream) - 1;
    const revisions = new Map(items.map(({ stream }) => [stream, revisionOf(stream)]));
    const tip = { position: this.head, recordedAt, now: Math.floor(this.#clock.now()) };
    for (const event of placeImport(chunk, tip, revisions)) this.#add(event);
  }

  /** Archives the events of a stream below a revision, or all and closes it; returns how many. */
  archive(stream: string, before = Infinity): number {
    const length = this.#length(stream);
    if (before === Infinity && length > 0) this.#closed.add(stream);
    const from = this.#firstHot(stream);
    const below = Math.max(from, Math.min(before, length));
    this.#archivedBelow.set(stream, below);
    return below - from;
  }

  reopen(stream: string): void {
    this.#closed.delete(stream);
  }

  /** Writes this layer into the log below it. */
  commit(): void {
    if (this.#below) for (const event of this.#events) this.#below.#add(event);
  }

  /** `check` runs before every batch; it throws when the store is closed. */
  readStream(stream: string, range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    const source = (): Rows => ({
      first: range.archived ? 0 : this.#firstHot(stream),
      last: this.#length(stream) - 1,
      at: (revision) => this.#ofStream(stream, revision),
    });
    return readBatches(source, range, check);
  }

  readAll(range: ReadRange, check: () => void): AsyncGenerator<EventBatch, void> {
    const source = (): Rows => ({ first: 1, last: this.head, at: (position) => this.#at(position) });
    return readBatches(source, range, check);
  }

  #add(event: StoredEvent): void {
    this.#events.push(event);
    this.#ids.set(event.id, event);
    const stream = this.#streams.get(event.stream);
    if (stream) stream.push(event);
    else this.#streams.set(event.stream, [event]);
  }

  #resultOf(stream: string, written: readonly StoredEvent[]): AppendResult {
    const { revision } = this.current(stream);
    const last = written.findLast((event) => event.stream === stream);
    return { stream, revision, position: last?.position ?? this.head };
  }

  #length(stream: string): number {
    return (this.#below ? this.#below.#length(stream) : 0) + (this.#streams.get(stream)?.length ?? 0);
  }

  #firstHot(stream: string): number {
    return this.#below ? this.#below.#firstHot(stream) : (this.#archivedBelow.get(stream) ?? 0);
  }

  #isClosed(stream: string): boolean {
    return this.#below ? this.#below.#isClosed(stream) : this.#closed.has(stream);
  }

  #last(): StoredEvent | undefined {
    return this.#events.at(-1) ?? (this.#below ? this.#below.#last() : undefined);
  }

  #at(position: number): StoredEvent | undefined {
    const below = this.#below?.head ?? 0;
    if (this.#below && position <= below) return this.#below.#at(position);
    return this.#events[position - 1 - below];
  }

  #ofStream(stream: string, revision: number): StoredEvent | undefined {
    const below = this.#below ? this.#below.#length(stream) : 0;
    if (this.#below && revision < below) return this.#below.#ofStream(stream, revision);
    return this.#streams.get(stream)?.[revision - below];
  }

  #byId(id: string): StoredEvent | undefined {
    return this.#ids.get(id) ?? (this.#below ? this.#below.#byId(id) : undefined);
  }

  #isRepeat({ stream, events }: PreparedAppend): boolean {
    const first = this.#byId(events[0]?.id ?? '');
    return events.every(({ id }, index) => {
      const stored = this.#byId(id);
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
