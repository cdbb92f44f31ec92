import type {
  KafkaClient,
  KafkaProducer,
  KafkaRecord,
  KafkaTopicRecords,
  KafkaTransaction,
  Subscriber,
} from './client.js';
import { PassedOffsets, type PassedOffset } from './passed-offsets.js';
import { PartsFailedError, type PartFailure } from './parts-failed-error.js';

/** How long records wait for others of their request: it is sent before, by `flush`, when all of them are there. */
const LINGER_MS = 1_000;
/** Whoever sends has cut what goes to a partition to what the broker takes. */
const BATCH_BYTES = 100_000_000;
/** When records are given up whose outcome is not known. */
const MESSAGE_TIMEOUT_MS = 10_000;
/** How long `flush` waits; what it waits for is awaited anyway. */
const FLUSH_MS = 60_000;
/** How often a consumer hears how far it was read where there are no records. */
const STATISTICS_MS = 250;

/** What `@confluentinc/kafka-javascript` offers of a producer. */
interface RecordProducer extends KafkaProducer {
  send(records: { topic: string; messages: KafkaRecord[] }): Promise<unknown>;
  flush(options: { timeout: number }): Promise<void>;
}

/**
 * A producer of `@confluentinc/kafka-javascript`, spoken to as one of kafkajs. Its records succeed and fail one by one, and are
 * put into requests by librdkafka; those that are given together are kept together, so that the broker stores or refuses them
 * together, by having it wait until it is told to send.
 */
export function librdkafkaProducer(
  kafka: KafkaClient,
  settings: Readonly<Record<string, unknown>>,
): KafkaProducer {
  const isTransactional = settings.transactionalId !== undefined;
  const producer = kafka.producer({
    'linger.ms': LINGER_MS,
    'batch.size': BATCH_BYTES,
    'message.max.bytes': BATCH_BYTES,
    ...(isTransactional ? {} : { 'message.timeout.ms': MESSAGE_TIMEOUT_MS }),
    kafkaJS: { ...settings, acks: -1 },
  }) as RecordProducer;
  return {
    connect: () => producer.connect(),
    disconnect: () => producer.disconnect(),
    sendBatch: ({ topicMessages }) => sendEach(producer, topicMessages),
    transaction: async () => {
      await producer.transaction();
      return transactionOf(producer);
    },
  };
}

/** A consumer of `@confluentinc/kafka-javascript`, spoken to as one of kafkajs. */
export function librdkafkaConsumer(kafka: KafkaClient, settings: object): Subscriber {
  const listeners: ((offset: PassedOffset) => void)[] = [];
  const passed = new PassedOffsets((offset) => listeners.forEach((listener) => listener(offset)));
  const consumer = kafka.consumer({
    'statistics.interval.ms': STATISTICS_MS,
    stats_cb: ({ message }: { readonly message: string }) => passed.take(message),
    kafkaJS: settings,
  });
  return {
    connect: () => consumer.connect(),
    disconnect: () => consumer.disconnect(),
    subscribe: ({ topics }) => consumer.subscribe({ topics }),
    // Whether it commits is a matter of its settings.
    run: ({ autoCommit: _, eachBatchAutoResolve = true, eachBatch, ...config }) =>
      consumer.run({
        ...{ ...config, eachBatchAutoResolve },
        eachBatch: (fetched) => passed.handling(() => eachBatch(fetched)),
      }),
    seek: (place) => consumer.seek(place),
    pause: (topics) => consumer.pause(topics),
    onPassed: (listener) => listeners.push(listener),
  };
}

/** The producer is the transaction, since it has only one at a time. */
function transactionOf(producer: RecordProducer & Partial<KafkaTransaction>): KafkaTransaction {
  return {
    sendBatch: ({ topicMessages }) =>
      sendEach(producer, topicMessages).catch((error: unknown) => {
        // The whole of it is going to be taken back.
        const [failure] = error instanceof PartsFailedError ? error.failures.values() : [];
        throw failure ? failure.error : error;
      }),
    commit: () => producer.commit?.() ?? Promise.resolve(),
    abort: () => producer.abort?.() ?? Promise.resolve(),
  };
}

/** Sends records and waits for the outcome of each. @throws PartsFailedError */
async function sendEach(
  producer: RecordProducer,
  topicMessages: readonly KafkaTopicRecords[],
): Promise<void> {
  const sending = topicMessages.flatMap(({ topic, messages }) => {
    const counts = new Map<number, number>();
    return messages.map(async (record) => {
      const { partition = 0 } = record;
      const index = counts.get(partition) ?? 0;
      counts.set(partition, index + 1);
      const place = `${topic}/${partition}`;
      try {
        // The client changes what it is given.
        await producer.send({ topic, messages: [{ ...record, headers: { ...record.headers } }] });
        return { place, index };
      } catch (error) {
        return { place, index, error };
      }
    });
  });
  await producer.flush({ timeout: FLUSH_MS }).catch(() => undefined);
  const failures = failuresOf(await Promise.all(sending));
  if (failures.size > 0) throw new PartsFailedError(failures);
}

interface RecordOutcome {
  readonly place: string;
  readonly index: number;
  readonly error?: unknown;
}

function failuresOf(outcomes: readonly RecordOutcome[]): ReadonlyMap<string, PartFailure> {
  const failures = new Map<string, PartFailure>();
  for (const { place, error } of outcomes) {
    if (error === undefined || failures.has(place)) continue;
    const stored = outcomes.filter((one) => one.place === place && one.error === undefined);
    failures.set(place, { error, stored: stored.map(({ index }) => index) });
  }
  return failures;
}
