import { randomUUID } from 'node:crypto';
import {
  TransportUnavailableError,
  type EventBatch,
  type PartitionedLog,
  type RecordedEvent,
} from '@refold/core';

/** A topic in memory: what Kafka keeps, without Kafka. */
export class MemoryTopic implements PartitionedLog {
  readonly name = 'topic in memory';
  /** How many reads were begun. */
  reads = 0;
  closed = 0;
  /** How many reads fail before one goes well. */
  outages = 0;
  readonly #parts: RecordedEvent[][];
  readonly #waiting = new Set<() => void>();
  #first = 1;

  constructor(partitions: number) {
    this.#parts = Array.from({ length: partitions }, () => []);
  }

  add(partition: number, stream: string, type: string, data: unknown): void {
    const part = this.#parts[partition] ?? [];
    part.push({
      ...{ id: randomUUID(), type, version: 1, stream, revision: part.length, position: part.length + 1 },
      ...{ recordedAt: new Date(), metadata: {}, data },
    });
    for (const resume of this.#waiting) resume();
  }

  grow(): void {
    this.#parts.push([]);
  }

  /** Forgets the beginning of every partition. */
  forget(before: number): void {
    this.#first = before;
  }

  partitions(): Promise<number> {
    return Promise.resolve(this.#parts.length);
  }

  bounds(partition: number): Promise<{ first: number; last: number }> {
    return Promise.resolve({ first: this.#first, last: this.#parts[partition]?.length ?? 0 });
  }

  async *read(partition: number, after: number, signal: AbortSignal): AsyncGenerator<EventBatch> {
    this.reads += 1;
    if (this.outages > 0) {
      this.outages -= 1;
      throw new TransportUnavailableError(this.name, 'out for a moment');
    }
    let at = Math.max(after, this.#first - 1);
    while (!signal.aborted) {
      const events = (this.#parts[partition] ?? []).slice(at, at + 7);
      if (events.length > 0) {
        at += events.length;
        yield { events, through: at };
      } else await this.#grown(signal);
    }
  }

  close(): Promise<void> {
    this.closed += 1;
    return Promise.resolve();
  }

  #grown(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
