import type { Transport } from '@refold/core';
import { kafkaTransport, messageOf } from '@refold/kafka';
import { Kafka, logLevel } from 'kafkajs';
import type { KafkaConfig } from '../config.js';
import type { HandleMessage, Intake, Wire } from '../wires.js';

const PARTITIONS = 4;

/** A topic of Kafka for each service. */
export function topics({ brokers, prefix }: KafkaConfig): Wire {
  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING });
  return {
    transportTo: (service) => toTopic(prefix + service, kafkaTransport({ kafka })),
    openIntake: async (service, handle) => {
      await createTopic(kafka, prefix + service);
      return consume(kafka, prefix + service, handle);
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

async function consume(kafka: Kafka, topic: string, handle: HandleMessage): Promise<Intake> {
  // As short as brokers allow: so long a consumer that crashed keeps its partitions.
  const consumer = kafka.consumer({ groupId: topic, sessionTimeout: 6000, heartbeatInterval: 1000 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    partitionsConsumedConcurrently: PARTITIONS,
    eachMessage: async ({ partition, message }) => {
      await handle(messageOf(topic, partition, message));
    },
  });
  return { close: () => consumer.disconnect() };
}
