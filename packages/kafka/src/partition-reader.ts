import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  makeConsumer,
  type KafkaClient,
  type KafkaFetched,
  type KafkaReceived,
  type Subscriber,
} from './client.js';
import { problemOf } from './kafka-errors.js';
import type { Topics } from './topics.js';

/** Where to read. */
export interface PartitionPlace {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that is wanted. */
  readonly offset: number;
}

/** Takes records in order, and the offset behind what is read; the next come when the promise has resolved. */
export type TakeRecords = (records: readonly KafkaReceived[], next: number) => Promise<void>;

/** How long the broker waits for records at a time; so long it may take to end, too. */
const FETCH_MS = 500;
const HEARTBEAT_MS = 3_000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

/**
 * Reads one partition from any offset, committed records only, as they are there and as they come, each once; until the
 * signal aborts. Clients read only as members of a group: it is one that nobody else is in, that commits nothing, and that
 * is deleted in the end. Connects again by itself.
 * @throws what the client does, if the topic is not there or not allowed
 */
export async function readPartition(
  kafka: KafkaClient,
  topics: Topics,
  place: PartitionPlace,
  take: TakeRecords,
  signal: AbortSignal,
): Promise<void> {
  const reading = new Reading(place, take, signal);
  for (let delay = FIRST_DELAY_MS; !signal.aborted; delay = Math.min(2 * delay, LONGEST_DELAY_MS)) {
    const before = reading.next;
    try {
      await reading.asGroup(kafka, topics);
    } catch (error) {
      if (problemOf(error) === 'topic') throw error;
      if (reading.next > before) delay = FIRST_DELAY_MS;
      await sleep(delay, undefined, { signal }).catch(() => undefined);
    }
  }
}

class Reading {
  next: number;
  readonly #place: PartitionPlace;
  readonly #take: TakeRecords;
  readonly #signal: AbortSignal;
  /** What is taken one after the other, whether it comes as records or as word of offsets without any. */
  #taking: Promise<void> = Promise.resolve();

  constructor(place: PartitionPlace, take: TakeRecords, signal: AbortSignal) {
    this.#place = place;
    this.#take = take;
    this.#signal = signal;
    this.next = place.offset;
  }

  /** Reads until the signal aborts. @throws when the client gives up */
  async asGroup(kafka: KafkaClient, topics: Topics): Promise<void> {
    const groupId = `refold-reader-${randomUUID()}`;
    const consumer = makeConsumer(kafka, {
      ...{ groupId, fromBeginning: true, autoCommit: false, maxWaitTimeInMs: FETCH_MS },
    });
    try {
      await this.#consume(consumer, await topics.partitions(this.#place.topic));
    } finally {
      await consumer.disconnect().catch(() => undefined);
      await topics.use((admin) => admin.deleteGroups([groupId])).catch(() => undefined);
    }
  }

  async #consume(consumer: Subscriber, count: number): Promise<void> {
    const { topic, partition } = this.#place;
    const crashed = this.#listen(consumer);
    crashed.catch(() => undefined);
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    const eachBatch = async (fetched: KafkaFetched): Promise<void> => {
      const { batch } = fetched;
      if (batch.partition !== partition || fetched.isStale()) return;
      await beating(fetched, () => this.#pass(batch.messages, Number(batch.lastOffset()) + 1));
    };
    await consumer.run({ autoCommit: false, eachBatch });
    this.#seek(consumer);
    // A member without others is given all partitions, and would fetch them all.
    const partitions = Array.from({ length: count }, (_, index) => index).filter((one) => one !== partition);
    if (partitions.length > 0) consumer.pause([{ topic, partitions }]);
    await Promise.race([crashed, ended(this.#signal)]);
  }

  /** Hears of what only kafkajs tells; rejects when it gives up. */
  #listen(consumer: Subscriber): Promise<never> {
    const { topic, partition } = this.#place;
    return new Promise((_, reject) => {
      consumer.on?.('consumer.crash', ({ payload }) => {
        const { error, restart } = payload as { readonly error: Error; readonly restart: boolean };
        if (!restart) reject(error);
      });
      consumer.onPassed?.((passed) => {
        if (passed.topic === topic && passed.partition === partition)
          void this.#pass([], passed.next).catch(() => undefined);
      });
      // Whoever joins anew begins at the beginning.
      consumer.on?.('consumer.group_join', () => this.#seek(consumer));
      // Batches of nothing but the marks that end transactions come only this way.
      consumer.on?.('consumer.end_batch_process', ({ payload }) => {
        const done = payload as { topic: string; partition: number; lastOffset: string };
        if (done.topic === topic && done.partition === partition)
          void this.#pass([], Number(done.lastOffset) + 1).catch(() => undefined);
      });
    });
  }

  #seek(consumer: Subscriber): void {
    const { topic, partition } = this.#place;
    consumer.seek({ topic, partition, offset: String(this.next) });
  }

  #pass(records: readonly KafkaReceived[], through: number): Promise<void> {
    return (this.#taking = this.#taking.then(async () => {
      const wanted = records.filter(({ offset }) => Number(offset) >= this.next);
      if (through <= this.next || this.#signal.aborted) return;
      await this.#take(wanted, through);
      this.next = through;
    }));
  }
}

/** Keeps the membership in the group while something takes its time. */
async function beating(fetched: KafkaFetched, work: () => Promise<void>): Promise<void> {
  const beat = setInterval(() => void fetched.heartbeat().catch(() => undefined), HEARTBEAT_MS);
  try {
    await work();
  } finally {
    clearInterval(beat);
  }
}

function ended(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
