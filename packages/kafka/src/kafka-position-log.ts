import { TransportUnavailableError } from '@refold/core';
import {
  makeProducer,
  type KafkaClient,
  type KafkaProducer,
  type KafkaRetry,
  type KafkaTopicRecords,
  type KafkaTransaction,
} from './client.js';
import { problemOf, typeOf } from './kafka-errors.js';
import type { PositionEntry, PositionLog, PositionWriter } from './open-range.js';
import { readPartition } from './partition-reader.js';
import { missingFrom } from './stored.js';
import type { Topics } from './topics.js';

/** How positions are kept for deliveries that send exactly once. */
export interface KafkaExactlyOnceOptions {
  /**
   * The topic that holds them, compacted. All workers of an application name the same, and no other application does, since
   * deliveries are told apart by their names alone. A log that starts anew, from position 1, needs a new one. Default
   * `refold-positions`.
   */
  readonly positionsTopic?: string;
  /** Whether the topic is made when it is missing, with one partition. Default true. */
  readonly createTopic?: boolean;
  /** Of the topic, when it is made. Default: what the brokers say. */
  readonly replicationFactor?: number;
  /**
   * When brokers give up a transaction whose sender is gone and was not replaced: so long may readers of committed messages
   * have to wait. In milliseconds, default 30,000.
   */
  readonly transactionTimeoutMs?: number;
}

/** Records of a transaction, in as many requests as they need. */
export type TransactionRecords = readonly KafkaTopicRecords[][];

/** A request of a transaction failed: which of them, and why. */
export class TransactionRequestError extends Error {
  constructor(
    readonly request: number,
    override readonly cause: Error,
  ) {
    super(cause.message, { cause });
  }
}

/**
 * The first try of a transaction often comes while the brokers still end the one before: each waits at least this long. They
 * try for about 5 seconds in all.
 */
const RETRY: KafkaRetry = { initialRetryTime: 2, maxRetryTime: 1_000, retries: 13 };
/** What the first transaction after the start of a broker may wait for. */
const LOADING_MS = 10_000;
const TOPIC_RESOURCE = 2;

/** The log of positions in a compacted topic, of which one partition is used: its order is what the protocol rests on. */
export class KafkaPositionLog implements PositionLog<TransactionRecords> {
  readonly #kafka: KafkaClient;
  readonly #topics: Topics;
  readonly #transport: string;
  readonly #options: KafkaExactlyOnceOptions;
  readonly #topic: string;
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();
  readonly #entries = new Map<string, string>();
  readonly #waiting = new Set<() => void>();
  #reading: Promise<void> | undefined;
  #failed: unknown;

  constructor(kafka: KafkaClient, topics: Topics, transport: string, options: KafkaExactlyOnceOptions = {}) {
    this.#kafka = kafka;
    this.#topics = topics;
    this.#transport = transport;
    this.#options = options;
    this.#topic = options.positionsTopic ?? 'refold-positions';
    this.#timeoutMs = options.transactionTimeoutMs ?? 30_000;
  }

  /** Begins to write as the transactional id of this name, which fences whoever had it. */
  async write(name: string): Promise<PositionWriter<TransactionRecords>> {
    await this.#start();
    const producer = makeProducer(this.#kafka, {
      transactionalId: `${this.#topic}/${name}`,
      transactionTimeout: this.#timeoutMs,
      retry: RETRY,
    });
    try {
      await producer.connect();
      await begun(producer);
    } catch (error) {
      await producer.disconnect().catch(() => undefined);
      throw error;
    }
    return new TransactionalWriter(producer, this.#topic);
  }

  /** @throws TransportUnavailableError if it is not enough within the longest time that a transaction can be in the way */
  async known(
    isEnough: (entries: ReadonlyMap<string, string>) => boolean,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> {
    await this.#start();
    const end = AbortSignal.any([
      signal,
      this.#closing.signal,
      AbortSignal.timeout(this.#timeoutMs + LOADING_MS),
    ]);
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const enough = this.#failed === undefined && isEnough(this.#entries);
        if (!enough && !end.aborted && this.#failed === undefined) return;
        this.#waiting.delete(look);
        end.removeEventListener('abort', look);
        if (enough) resolve(new Map(this.#entries));
        else reject(this.#lost(signal));
      };
      this.#waiting.add(look);
      end.addEventListener('abort', look);
      look();
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#reading?.catch(() => undefined);
  }

  #lost(signal: AbortSignal): TransportUnavailableError {
    const reason = signal.aborted
      ? 'told to stop'
      : `the positions in topic "${this.#topic}" could not be read in time: an open transaction may be in the way`;
    return new TransportUnavailableError(this.#transport, reason, { cause: this.#failed });
  }

  #start(): Promise<void> {
    return (this.#ready ??= this.#prepare().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    }));
  }

  #ready: Promise<void> | undefined;

  async #prepare(): Promise<void> {
    await this.#ensureTopic();
    await this.#checkCompacted();
    this.#failed = undefined;
    const place = { topic: this.#topic, partition: 0, offset: 0 };
    this.#reading = readPartition(
      this.#kafka,
      this.#topics,
      place,
      async (records) => {
        for (const { key, value } of records) {
          if (key === null || key === undefined) continue;
          if (value === null) this.#entries.delete(key.toString());
          else this.#entries.set(key.toString(), value.toString());
          // After each: what is looked for may be gone with the next.
          for (const look of [...this.#waiting]) look();
        }
      },
      this.#closing.signal,
    ).catch((error: unknown) => {
      this.#failed = error;
      this.#ready = undefined;
      for (const look of [...this.#waiting]) look();
    });
  }

  async #ensureTopic(): Promise<void> {
    const { createTopic = true, replicationFactor = -1 } = this.#options;
    try {
      await this.#topics.partitions(this.#topic);
    } catch (error) {
      if (!createTopic || !/^UNKNOWN_TOPIC/.test(typeOf(error) ?? '')) throw error;
      const configEntries = [{ name: 'cleanup.policy', value: 'compact' }];
      const topic = { topic: this.#topic, numPartitions: 1, replicationFactor, configEntries };
      await this.#topics.use((admin) => admin.createTopics({ topics: [topic] }));
    }
  }

  /** What deletes by age would forget what was sent. */
  async #checkCompacted(): Promise<void> {
    const resources = [{ type: TOPIC_RESOURCE, name: this.#topic, configNames: ['cleanup.policy'] }];
    const described = await this.#topics
      .use(async (admin) => admin.describeConfigs?.({ resources, includeSynonyms: false }))
      .catch((error: unknown) => {
        // It need not be allowed.
        if (problemOf(error) === 'topic') return undefined;
        throw error;
      });
    const policy = described?.resources[0]?.configEntries.find((one) => one.configName === 'cleanup.policy');
    if (!policy || policy.configValue === 'compact') return;
    const reason = `topic "${this.#topic}" has the cleanup.policy ${policy.configValue} and would forget what was sent: it must be compact`;
    throw new TransportUnavailableError(this.#transport, reason);
  }
}

class TransactionalWriter implements PositionWriter<TransactionRecords> {
  readonly #producer: KafkaProducer;
  readonly #topic: string;

  constructor(producer: KafkaProducer, topic: string) {
    this.#producer = producer;
    this.#topic = topic;
  }

  async commit(entries: readonly PositionEntry[], records: TransactionRecords = []): Promise<void> {
    const positions: KafkaTopicRecords = {
      topic: this.#topic,
      messages: entries.map(({ key, value }) => ({
        ...{ key, partition: 0, headers: {} },
        value: value === undefined ? null : Buffer.from(value),
      })),
    };
    // With the first request, to spare one.
    const [first = [], ...rest] = records;
    const transaction = await this.#producer.transaction();
    try {
      for (const [request, topicMessages] of [[...first, positions], ...rest].entries()) {
        await sendWhole(transaction, topicMessages).catch((error: Error) => {
          throw new TransactionRequestError(request, error);
        });
      }
      await transaction.commit();
    } catch (error) {
      // Of no use where it was fenced, or the brokers are gone: they abort it then.
      await transaction.abort().catch(() => undefined);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#producer.disconnect();
  }
}

/** kafkajs takes a transactional id not when it connects, but when a transaction begins. */
async function begun(producer: KafkaProducer): Promise<void> {
  const transaction = await producer.transaction();
  await transaction.abort();
}

/** @throws Error if a partition was left out of the answer: then the transaction must not be committed */
async function sendWhole(transaction: KafkaTransaction, topicMessages: KafkaTopicRecords[]): Promise<void> {
  const places = topicMessages.flatMap(({ topic, messages }) =>
    messages.map(({ partition = 0 }) => `${topic}/${partition}`),
  );
  const [missing] = missingFrom(await transaction.sendBatch({ topicMessages }), [...new Set(places)]);
  if (missing !== undefined) throw new Error(`${missing} was left out of the answer`);
}
