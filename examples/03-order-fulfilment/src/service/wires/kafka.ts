import type { Transport } from '@refold/core';
import { kafkaConsumer, kafkaTransport } from '@refold/kafka';
import { Kafka, logLevel } from 'kafkajs';
import type { KafkaConfig } from '../config.js';
import type { Wire } from '../wires.js';

const PARTITIONS = 4;

/** A topic of Kafka for each service. */
export function topics({ brokers, prefix }: KafkaConfig): Wire {
  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING });
  return {
    transportTo: (service) => toTopic(prefix + service, kafkaTransport({ kafka })),
    openIntake: async (service, handle) => {
      const topic = prefix + service;
      await createTopic(kafka, topic);
      const consumer = kafkaConsumer({
        ...{ kafka, groupId: topic, topics: [topic], concurrency: PARTITIONS },
        // As short as brokers allow: so long a service that crashed keeps its partitions.
        sessionTimeoutMs: 6_000,
      });
      const stop = new AbortController();
      const running = consumer.run(handle, { signal: stop.signal });
      return {
        close: async () => {
          stop.abort();
          await running;
        },
      };
    },
  };
}

/** Each run has topics of its own, whatever the deliveries call them. */
function toTopic(topic: string, transport: Transport): Transport {
  return {
    name: transport.name,
    supports: { exactlyOnce: false },
    send: (batch, signal) =>
      transport.send(
        batch.map((message) => ({ ...message, topic })),
        signal,
      ),
    close: () => transport.close(),
  };
}

async function createTopic(kafka: Kafka, topic: string): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: true });
  } finally {
    await admin.disconnect();
  }
}
