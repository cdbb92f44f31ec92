import { TransportUnavailableError } from '@refold/core';
import type { KafkaProducer, KafkaTopicRecords } from './client.js';
import type { Connection } from './connection.js';
import { problemOf } from './kafka-errors.js';
import { PartlyStoredError, PartsFailedError } from './parts-failed-error.js';
import type { Placed } from './placement.js';
import { missingFrom } from './stored.js';

/** Records of one partition that are stored together or not at all, waiting for their turn. */
interface Waiting {
  readonly place: string;
  readonly records: KafkaTopicRecords;
  readonly bytes: number;
  readonly signal: AbortSignal;
  readonly stored: () => void;
  readonly failed: (error: unknown) => void;
}

/** What goes out together has at most so many bytes, uncompressed: a tenth of what brokers take by default. */
const REQUEST_BYTES = 10_000_000;

/**
 * Sends what many want to send at once, one request under way at a time, each with whatever has gathered meanwhile.
 *
 * The numbers that make a producer idempotent are why there is only one. When a request of kafkajs is not answered, it takes
 * the numbers of its records back before it tries again. If the broker has stored them all the same, and another request got
 * the same numbers for other records of the partition in between, the broker takes those for a repeat: it answers that it has
 * them, and does not store them.
 *
 * A request for several partitions fails as a whole, and does not tell what of it was stored. Where that is no matter of the
 * connection, every partition's records are sent once more by themselves: they get the same numbers again, so that the broker
 * knows those that it has. Behind any other failure the producer is replaced.
 */
export class ProduceQueue {
  readonly #name: string;
  readonly #producer: Connection<KafkaProducer>;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  constructor(name: string, producer: Connection<KafkaProducer>) {
    this.#name = name;
    this.#producer = producer;
  }

  /**
   * Sends records of one partition: all of them are stored when the promise resolves. If it rejects with a problem of the
   * records or the topic, none are; otherwise nobody knows. One that waits when its signal aborts is not begun.
   */
  send(chunk: readonly Placed[], signal: AbortSignal): Promise<void> {
    const [first] = chunk;
    if (!first) return Promise.resolve();
    const { topic } = first.message;
    return new Promise((stored, failed) => {
      this.#waiting.push({
        place: `${topic}/${first.partition}`,
        records: { topic, messages: chunk.map(({ record }) => record) },
        bytes: chunk.reduce((sum, { bytes }) => sum + bytes, 0),
        ...{ signal, stored, failed },
      });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Whoever comes in the same turn goes along.
    await Promise.resolve();
    for (let group = this.#next(); group.length > 0; group = this.#next()) await this.#sendGroup(group);
    this.#running = undefined;
  }

  /** The oldest that can go together: one of each partition, so that what one broker stores or refuses is known of each. */
  #next(): Waiting[] {
    const group = new Map<string, Waiting>();
    const rest: Waiting[] = [];
    let room = REQUEST_BYTES;
    for (const one of this.#waiting) {
      if (one.signal.aborted) {
        one.failed(new TransportUnavailableError(this.#name, 'told to stop before it was begun'));
      } else if (group.has(one.place) || (one.bytes > room && group.size > 0)) {
        rest.push(one);
      } else {
        group.set(one.place, one);
        room -= one.bytes;
      }
    }
    this.#waiting = rest;
    return [...group.values()];
  }

  async #sendGroup(group: readonly Waiting[]): Promise<void> {
    try {
      const missing = await this.#request(group);
      for (const one of group) if (!missing.includes(one)) one.stored();
      for (const one of missing) await this.#sendAlone(one);
    } catch (error) {
      if (error instanceof PartsFailedError) settleParts(group, error);
      else if (group.length === 1 || isOpen(error)) for (const one of group) one.failed(error);
      else for (const one of group) await this.#sendAlone(one);
    }
  }

  async #sendAlone(one: Waiting): Promise<void> {
    try {
      const [missing] = await this.#request([one]);
      if (missing) throw new TransportUnavailableError(this.#name, `${one.place} was left out of the answer`);
      one.stored();
    } catch (error) {
      one.failed(error);
    }
  }

  /** Sends one request; returns what the answer does not speak of. */
  #request(group: readonly Waiting[]): Promise<readonly Waiting[]> {
    return this.#producer.use(async (producer) => {
      const answer = await producer.sendBatch({ topicMessages: byTopic(group) });
      const missing = missingFrom(
        answer,
        group.map(({ place }) => place),
      );
      return group.filter(({ place }) => missing.has(place));
    }, isOpen);
  }
}

/** Tells each what became of its own part. */
function settleParts(group: readonly Waiting[], { failures }: PartsFailedError): void {
  for (const one of group) {
    const failure = failures.get(one.place);
    if (!failure) one.stored();
    else one.failed(failure.stored.length > 0 ? new PartlyStoredError(failure) : failure.error);
  }
}

/** Whether an error leaves it open what became of the records, and with them what the producer's next numbers are. */
function isOpen(error: unknown): boolean {
  if (error instanceof PartsFailedError)
    return [...error.failures.values()].some((part) => isOpen(part.error));
  return problemOf(error) !== 'record' && problemOf(error) !== 'topic';
}

function byTopic(group: readonly Waiting[]): KafkaTopicRecords[] {
  const topics = new Map<string, KafkaTopicRecords>();
  for (const { records } of group) {
    const own = topics.get(records.topic);
    if (own) own.messages.push(...records.messages);
    else topics.set(records.topic, { topic: records.topic, messages: [...records.messages] });
  }
  return [...topics.values()];
}
