import {
  eventOfMessage,
  InvalidArgumentError,
  type EventBatch,
  type PartitionedLog,
  type RecordedEvent,
} from '@refold/core';
import type { ConsumeMessage } from 'amqplib';
import { setTimeout as sleep } from 'node:timers/promises';
import { arrivalOf } from './arrivals.js';
import { checkNumbers, checkUrl } from './check-options.js';
import { Connector, isRefusal, type BrokerConnection, type RabbitmqConnectionOptions } from './connection.js';
import { offsetOf, StreamReader } from './stream-reader.js';

/** How long a stream that is not ready yet is left alone. */
const AGAIN_MS = 100;

/** What can be said of a stream to read. */
export interface RabbitmqStreamOptions extends RabbitmqConnectionOptions {
  /** The name of the stream: a queue of the type `stream`. */
  readonly queue: string;
  /** The most messages of a batch. Default 500. */
  readonly batchSize?: number;
}

/**
 * A stream of RabbitMQ as a log to replay from: one partition, whose positions are the offsets and 1. Messages that are no
 * CloudEvents have the id `QUEUE@OFFSET`.
 * @throws InvalidArgumentError for a bad option
 */
export function rabbitmqStream(options: RabbitmqStreamOptions): PartitionedLog {
  checkUrl(options.url);
  checkNumbers({ batchSize: options.batchSize });
  return new RabbitmqStream(options);
}

class RabbitmqStream implements PartitionedLog {
  readonly name: string;
  readonly #queue: string;
  readonly #batchSize: number;
  readonly #connector: Connector;
  readonly #connections = new Set<BrokerConnection>();
  readonly #ending = new AbortController();

  constructor(options: RabbitmqStreamOptions) {
    this.name = `rabbitmq stream ${options.queue}`;
    this.#queue = options.queue;
    this.#batchSize = options.batchSize ?? 500;
    this.#connector = new Connector(this.name, options);
  }

  partitions(): Promise<number> {
    return Promise.resolve(1);
  }

  async bounds(partition: number, signal?: AbortSignal): Promise<{ first: number; last: number }> {
    checkPartition(partition);
    const stop = AbortSignal.any([this.#ending.signal, ...(signal ? [signal] : [])]);
    const connection = await this.#connected(stop);
    try {
      const first = await this.#edge(connection, 'first', stop);
      const last = first === undefined ? undefined : await this.#edge(connection, 'last', stop);
      return first === undefined || last === undefined
        ? { first: 1, last: 0 }
        : { first: first + 1, last: last + 1 };
    } finally {
      await this.#released(connection);
    }
  }

  async *read(partition: number, after: number, signal: AbortSignal): AsyncGenerator<EventBatch, void> {
    checkPartition(partition);
    const stop = AbortSignal.any([this.#ending.signal, signal]);
    let through = after;
    while (!stop.aborted) {
      const connection = await this.#reachable(stop);
      if (!connection) return;
      try {
        for await (const messages of this.#messages(connection, through, stop)) {
          const events = this.#events(messages, through);
          const last = events.at(-1);
          if (!last) continue;
          through = last.position;
          yield { events, through };
        }
      } finally {
        await this.#released(connection);
      }
    }
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await Promise.all([...this.#connections].map((connection) => this.#released(connection)));
  }

  /** The offset of the first or the last message; undefined for an empty stream. */
  async #edge(
    connection: BrokerConnection,
    edge: 'first' | 'last',
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const reader = await StreamReader.open(this.name, connection, this.#queue, edge, this.#batchSize);
    return edge === 'first' ? reader.firstOffset(signal) : reader.lastOffset(signal);
  }

  /** What comes on one connection, until it ends. */
  async *#messages(
    connection: BrokerConnection,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly ConsumeMessage[], void> {
    // The offset is the position and 1 less: that of the next message is the position behind which it lies.
    const from = after === 0 ? 'first' : after;
    const reader = await this.#opened(connection, from, signal);
    if (!reader) return;
    for (;;) {
      const messages = await reader.next(signal);
      if (messages.length === 0) return;
      yield messages;
    }
  }

  /** A reader; undefined if the connection broke meanwhile, or the stream is not ready yet, and it is to be made again. */
  async #opened(
    connection: BrokerConnection,
    from: number | 'first',
    signal: AbortSignal,
  ): Promise<StreamReader | undefined> {
    try {
      return await StreamReader.open(this.name, connection, this.#queue, from, this.#batchSize);
    } catch (error) {
      if (isRefusal(error)) throw error;
      await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
      return undefined;
    }
  }

  /** The broker begins with a chunk, of which the first messages may lie in front of the place. */
  #events(messages: readonly ConsumeMessage[], after: number): RecordedEvent[] {
    return messages.flatMap((message) => {
      const offset = offsetOf(message);
      return offset < after ? [] : [eventOfMessage(this.#received(message, offset), offset + 1)];
    });
  }

  #received(message: ConsumeMessage, offset: number): ReturnType<typeof arrivalOf> {
    const id = (): string => `${this.#queue}@${offset}`;
    try {
      return arrivalOf(message, id);
    } catch {
      // Not the JSON that it claims to be: as bytes, so that whoever handles it can say so, and the rest can be read.
      const properties = { ...message.properties, contentType: 'application/octet-stream' };
      return arrivalOf({ ...message, properties }, id);
    }
  }

  /** A connection, however long it takes; undefined when told to stop. */
  async #reachable(signal: AbortSignal): Promise<BrokerConnection | undefined> {
    while (!signal.aborted) {
      try {
        return await this.#connected(signal);
      } catch (error) {
        if (isRefusal(error)) throw error;
      }
    }
    return undefined;
  }

  async #connected(signal: AbortSignal): Promise<BrokerConnection> {
    signal.throwIfAborted();
    const connection = await this.#connector.connect(signal);
    this.#connections.add(connection);
    return connection;
  }

  async #released(connection: BrokerConnection): Promise<void> {
    this.#connections.delete(connection);
    await connection.close();
  }
}

function checkPartition(partition: number): void {
  if (partition !== 0)
    throw new InvalidArgumentError('partition', partition, 'must be 0, the only one of a stream');
}
