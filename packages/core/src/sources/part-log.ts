import { passes } from '../processors/processor.js';
import { EventReader, type EventBatch } from '../store/event-reader.js';
import type { EventStore, ReadAllOptions, RecordedEvent } from '../store/event-store.js';
import type { PartitionedLog } from './partitioned-log.js';

/**
 * Positions of one part, so that no two parts share one: those of part 2 begin behind 2 × 2^42. There is room for 2,048 parts
 * of 4 × 10^12 messages each.
 */
const ROOM = 2 ** 42;

/** How many parts have room. */
export const MOST_PARTS = 2048;

/** Where the positions of a part begin (exclusive). */
export function baseOf(part: number): number {
  return part * ROOM;
}

/** The part that a position is in. */
export function partOf(position: number): number {
  return Math.floor((position - 1) / ROOM);
}

/** The batches of one part, read once and in order, with the next one on its way while one is handled. */
class PartStream {
  readonly #iterator: AsyncIterator<EventBatch>;
  readonly #stop = new AbortController();
  #after: number;
  #next: Promise<IteratorResult<EventBatch>> | undefined;
  #broken = false;

  constructor(log: PartitionedLog, part: number, after: number) {
    this.#after = after;
    this.#iterator = log.read(part, after, this.#stop.signal)[Symbol.asyncIterator]();
  }

  get after(): number {
    return this.#after;
  }

  /** Whether reading has failed: whoever goes on opens it anew. */
  get broken(): boolean {
    return this.#broken;
  }

  /** The next batch, left in place; undefined when the read has ended. */
  async peek(): Promise<EventBatch | undefined> {
    this.#next ??= this.#iterator.next();
    try {
      const result = await this.#next;
      return result.done === true ? undefined : result.value;
    } catch (error) {
      this.#broken = true;
      throw error;
    }
  }

  /** Goes past the batch that `peek` has shown. */
  advance(through: number): void {
    this.#after = through;
    this.#next = undefined;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#next?.catch(() => undefined);
    await this.#iterator.return?.();
  }
}

/** One part of a partitioned log as a log that a lane can read, at positions that no other part has. */
export class PartLog implements Pick<EventStore, 'head' | 'changes' | 'readAll'> {
  readonly #log: PartitionedLog;
  readonly #part: number;
  readonly #base: number;
  #stream: PartStream | undefined;

  constructor(log: PartitionedLog, part: number) {
    this.#log = log;
    this.#part = part;
    this.#base = baseOf(part);
  }

  async head(): Promise<number> {
    const { last } = await this.#log.bounds(this.#part);
    return this.#base + Math.max(0, last);
  }

  /** Waits for a batch behind the position; it stays, for the read that follows. */
  async changes(after: number, signal: AbortSignal): Promise<number> {
    const stream = await this.#streamAt(this.#local(after));
    const batch = await untilAborted(stream.peek(), signal);
    if (!batch) await untilAborted(new Promise<never>(() => {}), signal);
    return this.#base + (batch?.through ?? 0);
  }

  /** Forward, to the bound that is given or as far as the log reaches now. */
  readAll(options: ReadAllOptions = {}): EventReader {
    const after = this.#local(options.after ?? 0);
    const to = options.to === undefined ? Infinity : this.#local(options.to);
    return new EventReader(this.#batches(after, to, options));
  }

  async close(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    await stream?.close();
  }

  async *#batches(
    after: number,
    to: number,
    { filter = {}, limit = Infinity }: ReadAllOptions,
  ): AsyncGenerator<EventBatch> {
    const bounds = await this.#log.bounds(this.#part);
    const end = Math.min(to, bounds.last);
    // A single message, such as that of a dead letter, is read beside the stream that goes on.
    const own = to - after === 1 && this.#stream?.after !== after;
    const stream = own ? new PartStream(this.#log, this.#part, after) : await this.#streamAt(after);
    const wanted = passes(filter);
    let left = limit;
    try {
      while (stream.after < end && left > 0) {
        const batch = await stream.peek();
        if (!batch) return;
        const through = Math.min(batch.through, to);
        const events = batch.events
          .filter((event) => event.position > after && event.position <= to && wanted(event))
          .slice(0, left);
        left -= events.length;
        if (batch.through <= to) stream.advance(batch.through);
        yield { events: events.map((event) => this.#placed(event)), through: this.#base + through };
        if (batch.through > to) return;
      }
    } finally {
      if (own) await stream.close();
    }
  }

  async #streamAt(after: number): Promise<PartStream> {
    if (this.#stream?.after === after && !this.#stream.broken) return this.#stream;
    await this.close();
    return (this.#stream = new PartStream(this.#log, this.#part, after));
  }

  #placed(event: RecordedEvent): RecordedEvent {
    return this.#base === 0 ? event : { ...event, position: this.#base + event.position };
  }

  #local(position: number): number {
    return Math.max(0, position - this.#base);
  }
}

async function untilAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  signal.throwIfAborted();
  let abort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
