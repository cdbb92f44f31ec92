import { setImmediate } from 'node:timers/promises';
import type { EventCodec } from '../events/codec.js';
import type { EventBatch } from '../store/event-reader.js';
import type { EventFilter, EventStore, RecordedEvent } from '../store/event-store.js';
import { sliceOf } from '../store/slices.js';
import type { StateUnit } from '../store/state-store.js';
import { decodeOrFail, filterOf, HandlerError, type Processor } from './processor.js';

/** Pages that are kept for partitions which come a little later. */
const KEPT_PAGES = 3;

/** An event on its way to a handler. */
export class FeedEvent {
  /** Decoded, unless `failure` says why it could not be. */
  readonly event: RecordedEvent;
  readonly failure: HandlerError | undefined;
  readonly #sequenceOf: (event: RecordedEvent) => string | undefined;
  readonly #slice: number | undefined;
  #sequence: Sequence | undefined;

  constructor(
    event: RecordedEvent,
    failure: HandlerError | undefined,
    sequenceOf: (event: RecordedEvent) => string | undefined,
    slice: number | undefined,
  ) {
    this.event = event;
    this.failure = failure;
    this.#sequenceOf = sequenceOf;
    this.#slice = slice;
  }

  /** Computed when somebody asks, and once: a lone partition need not know before something fails. */
  get sequence(): Sequence {
    return (this.#sequence ??= this.#computed());
  }

  #computed(): Sequence {
    const sequence = sequenceOfEvent(this.event, this.failure, this.#sequenceOf);
    return this.#slice === undefined ? sequence : { ...sequence, slice: this.#slice };
  }
}

/** Some events of the log in order, for all partitions of a processor. */
export interface FeedPage {
  readonly events: readonly FeedEvent[];
  /** The page holds all events that match behind this position, */
  readonly after: number;
  /** and up to this one. */
  readonly through: number;
}

/** Where an event belongs. */
export interface Sequence {
  /** Undefined if the event belongs to several sequences, or to one that cannot be known since it cannot be read. */
  readonly key: string | undefined;
  /** The slice of the key, or of the stream where there is no key. */
  readonly slice: number;
  /** Why there is no key. */
  readonly failure?: HandlerError;
}

/** What a feed needs to read. */
export interface FeedSource<Unit extends StateUnit> {
  readonly log: Pick<EventStore<Unit>, 'readAll'>;
  readonly codec: EventCodec;
}

/**
 * Reads the log once for all partitions of a processor that a worker holds: a page that one has asked for is there for
 * the others when they come to the same place. Each goes at its own pace; one that is far behind the others reads alone.
 */
export class Feed<Unit extends StateUnit> {
  readonly #sequenceOf: (event: RecordedEvent) => string | undefined;
  readonly #source: FeedSource<Unit>;
  readonly #filter: EventFilter;
  readonly #pageSize: () => number;
  readonly #slice: number | undefined;
  readonly #reading = new Map<number, Promise<FeedPage | undefined>>();
  #pages: FeedPage[] = [];
  #head = 0;

  /** With a slice, all events are in that one, whatever their sequences. */
  constructor(processor: Processor<Unit>, source: FeedSource<Unit>, pageSize: () => number, slice?: number) {
    this.#sequenceOf = (event) => processor.sequenceOf(event);
    this.#source = source;
    this.#filter = filterOf(processor, source.codec);
    this.#pageSize = pageSize;
    this.#slice = slice;
  }

  /** The log is known to reach up to here. */
  get head(): number {
    return this.#head;
  }

  /** Tells how far the log reaches. */
  reaches(head: number): void {
    this.#head = Math.max(this.#head, head);
  }

  /** A page that continues behind a position; undefined if there is nothing up to `to` yet. */
  async next(after: number, to: number): Promise<FeedPage | undefined> {
    const kept = this.#pages.find((page) => page.after <= after && after < page.through);
    const page = kept ?? (await this.#reading.get(after)) ?? (await this.#start(after, to));
    // The next page is read while this one is handled: when that waits, since a store may read without ever waiting.
    if (page && page === this.#pages.at(-1) && page.through < Math.min(to, this.#head)) {
      this.#start(page.through, to, turnsOfTheLoop).catch(() => undefined);
    }
    return page;
  }

  /** Resolves when nothing is being read. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#reading.values());
  }

  #start(after: number, to: number, begin?: () => Promise<void>): Promise<FeedPage | undefined> {
    const running = this.#reading.get(after);
    if (running) return running;
    const read = (): Promise<FeedPage | undefined> => this.#read(after, to);
    const reading = (begin ? begin().then(read) : read()).finally(() => this.#reading.delete(after));
    this.#reading.set(after, reading);
    return reading;
  }

  async #read(after: number, to: number): Promise<FeedPage | undefined> {
    const range = { after, to: to === Infinity ? undefined : to, filter: this.#filter };
    const reader = this.#source.log.readAll({ ...range, batchSize: this.#pageSize() });
    for await (const batch of reader.batches()) {
      if (batch.through <= after) continue;
      const page = this.#pageOf(batch, after);
      this.#pages = [...this.#pages.slice(1 - KEPT_PAGES), page];
      this.reaches(page.through);
      return page;
    }
    return undefined;
  }

  #pageOf({ events, through }: EventBatch, after: number): FeedPage {
    return { events: events.map((event) => this.#decoded(event)), after, through };
  }

  #decoded(stored: RecordedEvent): FeedEvent {
    try {
      return new FeedEvent(
        decodeOrFail(this.#source.codec, stored),
        undefined,
        this.#sequenceOf,
        this.#slice,
      );
    } catch (failure) {
      if (failure instanceof HandlerError)
        return new FeedEvent(stored, failure, this.#sequenceOf, this.#slice);
      throw failure;
    }
  }
}

/** Two turns: in the first, what was written meanwhile is sent. */
async function turnsOfTheLoop(): Promise<void> {
  await setImmediate();
  await setImmediate();
}

/** @internal The sequence of one event. */
export function sequenceOfEvent(
  event: RecordedEvent,
  failure: HandlerError | undefined,
  sequenceOf: (event: RecordedEvent) => string | undefined,
): Sequence {
  if (failure) return { key: undefined, slice: sliceOf(event.stream), failure };
  try {
    const key = sequenceOf(event);
    return { key, slice: sliceOf(key ?? event.stream) };
  } catch (cause) {
    return { key: undefined, slice: sliceOf(event.stream), failure: new HandlerError(event, cause) };
  }
}
