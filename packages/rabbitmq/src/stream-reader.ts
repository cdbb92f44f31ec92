import { TransportUnavailableError } from '@refold/core';
import type { Channel, ConsumeMessage } from 'amqplib';
import { reasonOf, type BrokerConnection } from './connection.js';

/** How long the first message of a stream may take that has any. */
const FIRST_MS = 1_000;

/** Reads a stream on a channel of its own, which ends with its connection; no more than two batches ahead. */
export class StreamReader {
  readonly #subject: string;
  readonly #channel: Channel;
  readonly #queue: string;
  readonly #batchSize: number;
  #arrived: ConsumeMessage[] = [];
  #isOpen = true;
  #wake = (): void => {};

  private constructor(subject: string, channel: Channel, queue: string, batchSize: number) {
    this.#subject = subject;
    this.#channel = channel;
    this.#queue = queue;
    this.#batchSize = batchSize;
    channel.on('close', () => {
      this.#isOpen = false;
      this.#wake();
    });
  }

  /** Begins at an offset, or at an edge of the stream: with `last`, at the chunk that has its last message. */
  static async open(
    subject: string,
    connection: BrokerConnection,
    queue: string,
    from: number | 'first' | 'last',
    batchSize: number,
  ): Promise<StreamReader> {
    const channel = await connection.channel();
    const reader = new StreamReader(subject, channel, queue, batchSize);
    try {
      await channel.prefetch(2 * batchSize);
      await channel.consume(queue, (message) => reader.#take(message), {
        arguments: { 'x-stream-offset': from },
      });
      return reader;
    } catch (cause) {
      // A connection that broke is made again by whoever reads.
      if (!connection.isOpen) return reader;
      throw new TransportUnavailableError(subject, reasonOf(cause), { cause });
    }
  }

  /** The next messages as soon as there are any; none when the channel has ended, or the signal has aborted. */
  async next(signal: AbortSignal, withinMs?: number): Promise<readonly ConsumeMessage[]> {
    if (this.#arrived.length === 0 && this.#isOpen && !signal.aborted) await this.#news(signal, withinMs);
    if (!this.#isOpen || signal.aborted) return [];
    const messages = this.#arrived.splice(0, this.#batchSize);
    const last = messages.at(-1);
    // The broker sends more for it.
    if (last) this.#channel.ack(last, true);
    return messages;
  }

  /** The offset of the message with which it begins; undefined if none comes. */
  async firstOffset(signal: AbortSignal): Promise<number | undefined> {
    const [first] = await this.next(signal, FIRST_MS);
    this.#checkOpen(signal);
    return first && offsetOf(first);
  }

  /** The offset of the last message there is; undefined if there is none. */
  async lastOffset(signal: AbortSignal): Promise<number | undefined> {
    let last = (await this.next(signal, FIRST_MS)).at(-1);
    // The broker answers behind the messages that it had when it was asked: two answers with nothing before them are its end.
    for (let quiet = 0; quiet < 2 && !signal.aborted; quiet++) {
      await this.#channel.checkQueue(this.#queue).catch(() => undefined);
      if (this.#arrived.length === 0) continue;
      last = (await this.next(signal)).at(-1) ?? last;
      quiet = -1;
    }
    this.#checkOpen(signal);
    return last && offsetOf(last);
  }

  #checkOpen(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (!this.#isOpen) throw new TransportUnavailableError(this.#subject, 'the connection was closed');
  }

  #take(message: ConsumeMessage | null): void {
    if (message) this.#arrived.push(message);
    // The queue is gone, or has moved to another node.
    else this.#isOpen = false;
    this.#wake();
  }

  #news(signal: AbortSignal, withinMs?: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.#wake = () => {};
        resolve();
      };
      const timer = withinMs === undefined ? undefined : setTimeout(wake, withinMs);
      signal.addEventListener('abort', wake, { once: true });
      this.#wake = wake;
    });
  }
}

/** The place of a message in its stream, from 0. */
export function offsetOf(message: ConsumeMessage): number {
  return Number(message.properties.headers?.['x-stream-offset']);
}
