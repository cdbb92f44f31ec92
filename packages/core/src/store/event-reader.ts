import type { RecordedEvent } from './event-store.js';

/** Some events in order, and how far the read has come. */
export interface EventBatch<Data = unknown> {
  readonly events: readonly RecordedEvent<Data>[];
  /**
   * Everything that matches up to here (a position for the log, a revision for a stream; downwards when reading
   * backward) is in this batch or an earlier one. It moves on through events that the filter leaves out, so a batch
   * may be empty.
   */
  readonly through: number;
}

/** The result of a read: iterate it for events, or `batches()` for events by the page, which is faster. Use it once. */
export class EventReader<Data = unknown> implements AsyncIterable<RecordedEvent<Data>> {
  readonly #source: AsyncIterable<EventBatch<Data>>;

  constructor(source: AsyncIterable<EventBatch<Data>>) {
    this.#source = source;
  }

  /** The events by the page; nothing is read ahead. */
  batches(): AsyncIterable<EventBatch<Data>> {
    return this.#source;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RecordedEvent<Data>, void> {
    for await (const { events } of this.#source) {
      for (const event of events) yield event;
    }
  }

  /** All events in one array; only for reads known to be small. */
  async toArray(): Promise<RecordedEvent<Data>[]> {
    const all: RecordedEvent<Data>[] = [];
    for await (const { events } of this.#source) for (const event of events) all.push(event);
    return all;
  }

  /** The same read with every batch passed through `transform`. */
  map<Mapped>(transform: (batch: EventBatch<Data>) => EventBatch<Mapped>): EventReader<Mapped> {
    const source = this.#source;
    return new EventReader(
      (async function* () {
        for await (const batch of source) yield transform(batch);
      })(),
    );
  }
}
