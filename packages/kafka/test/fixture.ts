import { createRequire } from 'node:module';
import { Kafka, logLevel } from 'kafkajs';
import type { KafkaClient, KafkaReceived } from '@refold/kafka';

/** A client of the broker: kafkajs, or with REFOLD_KAFKA_CLIENT=confluent the other, where that is installed. */
export function clientOf(address: string): KafkaClient {
  const brokers = address.split(',');
  // Its own retries come before the transport hears of anything: many of them take minutes.
  if (process.env.REFOLD_KAFKA_CLIENT !== 'confluent') return kafkaJsOf(address, 2);
  const confluent = createRequire(import.meta.url)('@confluentinc/kafka-javascript') as {
    KafkaJS: { Kafka: new (config: object) => KafkaClient; logLevel: { NOTHING: number } };
  };
  const { Kafka: Client, logLevel: level } = confluent.KafkaJS;
  return new Client({ kafkaJS: { brokers, logLevel: level.NOTHING } });
}

/** kafkajs, which tests look at the broker with. */
export function kafkaJsOf(address: string, retries = 8): Kafka {
  return new Kafka({ brokers: address.split(','), logLevel: logLevel.NOTHING, retry: { retries } });
}

let groups = 0;

/** Follows topics from their beginning: what has come until now, repeats included, in the order of each partition. */
export async function follow(
  kafka: Kafka,
  topics: readonly string[],
): Promise<{
  readonly records: (
    topic: string,
  ) => readonly { readonly partition: number; readonly record: KafkaReceived }[];
  readonly close: () => Promise<void>;
}> {
  const seen = new Map<string, Map<string, { partition: number; record: KafkaReceived }>>();
  const consumer = kafka.consumer({ groupId: `follow-${process.pid}-${groups++}`, maxWaitTimeInMs: 50 });
  await consumer.connect();
  await consumer.subscribe({ topics: [...topics], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      const records = seen.get(topic) ?? new Map<string, { partition: number; record: KafkaReceived }>();
      // Whoever reconnects reads again what he has read.
      records.set(`${partition}/${message.offset}`, { partition, record: message });
      seen.set(topic, records);
    },
  });
  return {
    records: (topic) => [...(seen.get(topic)?.values() ?? [])],
    close: () => consumer.disconnect(),
  };
}
