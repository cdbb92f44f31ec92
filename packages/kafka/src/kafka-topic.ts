import {
  eventOfMessage,
  InvalidArgumentError,
  TransportUnavailableError,
  type EventBatch,
  type PartitionedLog,
  type RecordedEvent,
} from '@refold/core';
import type { KafkaClient, KafkaReceived } from './client.js';
import { problemOf } from './kafka-errors.js';
import { readPartition } from './partition-reader.js';
import { messageOf } from './record.js';
import { Topics } from './topics.js';

/** Which topic is read, and with what. */
export interface KafkaTopicOptions {
  /** The client: `new Kafka({ brokers })`. */
  readonly kafka: KafkaClient;
  readonly topic: string;
}

/**
 * A topic of Kafka as a log to replay from: its partitions are the log's, and a position is the offset and 1. Committed records
 * only. Reading disturbs nobody: it is done in groups that nobody else is in, and whose offsets nobody keeps. Records that are
 * no CloudEvents have the id `TOPIC/PARTITION/OFFSET`, and the topic as their type.
 * @throws InvalidArgumentError for an empty topic
 */
export function kafkaTopic(options: KafkaTopicOptions): PartitionedLog {
  if (options.topic === '')
    throw new InvalidArgumentError('topic', options.topic, 'must be the name of a topic');
  return new KafkaTopic(options);
}

class KafkaTopic implements PartitionedLog {
  readonly name: string;
  readonly #kafka: KafkaClient;
  readonly #topic: string;
  readonly #topics: Topics;
  readonly #closing = new AbortController();

  constructor({ kafka, topic }: KafkaTopicOptions) {
    this.name = `kafka topic ${topic}`;
    this.#kafka = kafka;
    this.#topic = topic;
    this.#topics = new Topics(kafka);
  }

  partitions(): Promise<number> {
    // A topic may have got more of them since it was last asked.
    this.#topics.forget(this.#topic);
    return this.#asked(() => this.#topics.partitions(this.#topic));
  }

  async bounds(partition: number): Promise<{ readonly first: number; readonly last: number }> {
    const offsets = await this.#asked(() =>
      this.#topics.use((admin) => admin.fetchTopicOffsets(this.#topic)),
    );
    const own = offsets.find((one) => one.partition === partition);
    if (!own) throw new TransportUnavailableError(this.name, `it has no partition ${partition}`);
    return { first: Number(own.low) + 1, last: Number(own.high) };
  }

  async *read(partition: number, after: number, signal: AbortSignal): AsyncGenerator<EventBatch> {
    const stop = new AbortController();
    const over = AbortSignal.any([signal, this.#closing.signal, stop.signal]);
    const handed = new HandOver(over);
    const reading = readPartition(
      this.#kafka,
      this.#topics,
      { topic: this.#topic, partition, offset: after },
      (records, next) => handed.give({ events: this.#events(partition, records), through: next }),
      over,
    ).then(
      () => handed.end(),
      (error: unknown) => handed.end(this.#unavailable(error)),
    );
    try {
      for (let batch = await handed.take(); batch; batch = await handed.take()) yield batch;
    } finally {
      stop.abort();
      await reading;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#topics.close();
  }

  #events(partition: number, records: readonly KafkaReceived[]): RecordedEvent[] {
    return records.map((record) => {
      const position = Number(record.offset) + 1;
      return eventOfMessage(this.#message(partition, record), position);
    });
  }

  /** What says that it is JSON and is not is left to whoever has a handler for its type, and to nobody where there is none. */
  #message(partition: number, record: KafkaReceived): ReturnType<typeof messageOf> {
    try {
      return messageOf(this.#topic, partition, record);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      const plain = messageOf(this.#topic, partition, { ...record, value: null });
      return { ...plain, payload: record.value?.toString() };
    }
  }

  async #asked<Result>(ask: () => Promise<Result>): Promise<Result> {
    try {
      return await ask();
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  #unavailable(cause: unknown): TransportUnavailableError {
    const reason =
      problemOf(cause) === 'topic' ? 'the topic is not there, or may not be read' : String(cause);
    return new TransportUnavailableError(this.name, reason, { cause });
  }
}

/** Hands batches from whoever is called with them to whoever asks: one at a time, and the next when it is taken. */
class HandOver {
  readonly #signal: AbortSignal;
  #batch: EventBatch | undefined;
  #ended: { readonly error: Error | undefined } | undefined;
  #wake = (): void => {};

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  async give(batch: EventBatch): Promise<void> {
    while (this.#batch && !this.#signal.aborted) await this.#woken();
    if (this.#signal.aborted) return;
    this.#batch = batch;
    this.#wake();
  }

  /** The next batch; undefined when there is none any more. */
  async take(): Promise<EventBatch | undefined> {
    while (!this.#batch && !this.#ended && !this.#signal.aborted) await this.#woken();
    const batch = this.#batch;
    this.#batch = undefined;
    this.#wake();
    if (batch && !this.#signal.aborted) return batch;
    if (this.#ended?.error && !this.#signal.aborted) throw this.#ended.error;
    return undefined;
  }

  end(error?: Error): void {
    this.#ended = { error };
    this.#wake();
  }

  #woken(): Promise<void> {
    const before = this.#wake;
    return new Promise((resolve) => {
      this.#wake = () => {
        before();
        resolve();
      };
    });
  }
}
