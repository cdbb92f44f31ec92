import { librdkafkaConsumer, librdkafkaProducer } from './librdkafka-client.js';
import type { PassedOffset } from './passed-offsets.js';

/** A record as clients take it. */
export interface KafkaRecord {
  key: string | Buffer | null;
  value: Buffer | null;
  headers: Record<string, string | Buffer>;
  partition?: number;
}

/** The records of one topic. */
export interface KafkaTopicRecords {
  topic: string;
  messages: KafkaRecord[];
}

/** What is used of a producer. */
export interface KafkaProducer {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  sendBatch(batch: { topicMessages: KafkaTopicRecords[] }): Promise<unknown>;
  transaction(): Promise<KafkaTransaction>;
}

/** What is used of a transaction. */
export interface KafkaTransaction {
  sendBatch(batch: { topicMessages: KafkaTopicRecords[] }): Promise<unknown>;
  commit(): Promise<void>;
  abort(): Promise<void>;
}

/** A record as clients bring it. */
export interface KafkaReceived {
  key?: Buffer | string | null;
  value: Buffer | null;
  headers?: Record<string, Buffer | string | (Buffer | string)[] | undefined>;
  timestamp: string;
  offset: string;
}

/** What a consumer is given at a time: records of one partition. */
export interface KafkaFetched {
  batch: {
    topic: string;
    partition: number;
    messages: KafkaReceived[];
    lastOffset(): string;
  };
  resolveOffset(offset: string): void;
  heartbeat(): Promise<void>;
  commitOffsetsIfNecessary(): Promise<void>;
  isRunning(): boolean;
  isStale(): boolean;
}

/** What is used of a consumer. */
export interface KafkaSubscriber {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  subscribe(subscription: { topics: string[]; fromBeginning?: boolean }): Promise<void>;
  run(config: KafkaRunConfig): Promise<void>;
  seek(place: { topic: string; partition: number; offset: string }): void;
  pause(topics: { topic: string; partitions?: number[] }[]): void;
  /** What only kafkajs has: it tells of what happens inside. */
  on?(event: string, listener: (event: { payload?: unknown }) => void): unknown;
}

/** A consumer as it is used here, whichever client it is of. */
export interface Subscriber extends KafkaSubscriber {
  /** What only the other has, which tells of no such events: that nothing is left in front of an offset. */
  onPassed?(listener: (offset: PassedOffset) => void): unknown;
}

/** How a consumer runs. */
export interface KafkaRunConfig {
  autoCommit?: boolean;
  eachBatchAutoResolve?: boolean;
  partitionsConsumedConcurrently?: number;
  eachBatch: (fetched: KafkaFetched) => Promise<void>;
}

/** What is used of the administrating client. */
export interface KafkaAdmin {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  createTopics(request: {
    topics: {
      topic: string;
      numPartitions?: number;
      replicationFactor?: number;
      configEntries?: { name: string; value: string }[];
    }[];
  }): Promise<boolean>;
  fetchTopicMetadata(request: { topics: string[] }): Promise<unknown>;
  fetchTopicOffsets(topic: string): Promise<{ partition: number; high: string; low: string }[]>;
  deleteGroups(groups: string[]): Promise<unknown>;
  /** What only kafkajs has. */
  describeConfigs?(request: {
    resources: { type: number; name: string; configNames?: string[] }[];
    includeSynonyms: boolean;
  }): Promise<{ resources: { configEntries: { configName: string; configValue: string }[] }[] }>;
}

/**
 * A client of Kafka, configured by whoever made it: `new Kafka({ brokers })` of `kafkajs`, or of the class of the same name that
 * `@confluentinc/kafka-javascript` exports under `KafkaJS`.
 */
export interface KafkaClient {
  producer(config: object): KafkaProducer;
  consumer(config: object): KafkaSubscriber;
  admin(config?: object): KafkaAdmin;
}

/** How a client tries again before it gives up, in its own words. */
export interface KafkaRetry {
  /** The first wait, in milliseconds. */
  readonly initialRetryTime?: number;
  /** The longest wait, in milliseconds. */
  readonly maxRetryTime?: number;
  readonly retries?: number;
}

/** Makes a producer, whichever client it is. */
export function makeProducer(
  kafka: KafkaClient,
  settings: {
    readonly idempotent?: boolean;
    readonly transactionalId?: string;
    readonly transactionTimeout?: number;
    readonly retry: KafkaRetry;
  },
): KafkaProducer {
  const shared = { ...settings, retry: { ...settings.retry }, allowAutoTopicCreation: false };
  if (!isKafkaJs(kafka)) return librdkafkaProducer(kafka, shared);
  return kafka.producer({ ...shared, maxInFlightRequests: 1, createPartitioner: () => chosenPartition });
}

/** Makes a consumer of committed records, whichever client it is. */
export function makeConsumer(
  kafka: KafkaClient,
  settings: {
    readonly groupId: string;
    readonly fromBeginning: boolean;
    readonly autoCommit: boolean;
    readonly maxWaitTimeInMs?: number;
    readonly sessionTimeout?: number;
    readonly heartbeatInterval?: number;
  },
): Subscriber {
  const { fromBeginning, autoCommit, ...shared } = settings;
  if (!isKafkaJs(kafka)) return librdkafkaConsumer(kafka, { ...shared, fromBeginning, autoCommit });
  return kafka.consumer({ ...shared, allowAutoTopicCreation: false });
}

/** Makes an administrating client, whichever it is. */
export function makeAdmin(kafka: KafkaClient, retry: KafkaRetry): KafkaAdmin {
  return kafka.admin(isKafkaJs(kafka) ? { retry } : { kafkaJS: { retry } });
}

/** kafkajs offers its logger, and throws or warns if it is spoken to like the other, which does not. */
export function isKafkaJs(kafka: KafkaClient): boolean {
  return 'logger' in kafka;
}

function chosenPartition({ message }: { readonly message: { readonly partition?: number } }): number {
  return message.partition ?? 0;
}
