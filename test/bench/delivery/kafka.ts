import { kafkaTransport } from '@refold/kafka';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import { createTopics } from '../../services/kafka-topics.js';
import { kafkaService } from '../../services/kafka.js';
import type { Bench } from '../harness.js';
import { bareMessages, type SentLog } from './sending.js';

const PARTITIONS = 4;

/** Messages into a topic, acknowledged by all replicas: from the log against a bare client that has them in memory. */
export async function compareKafka(bench: Bench, log: SentLog): Promise<void> {
  const service = await kafkaService();
  if ('missing' in service) return bench.note(`skipped: Kafka: ${service.missing}`);
  const kafka = new Kafka({ brokers: service.address.split(','), logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const transport = kafkaTransport({ kafka });
  for (const batchSize of [100, 1000]) {
    const topics = { ours: `bench-ours-${batchSize}`, raw: `bench-raw-${batchSize}` };
    await createTopics(kafka, Object.values(topics), { partitions: PARTITIONS });
    await bench.compare<number, number>({
      name: `Kafka, acknowledged by all, batches of ${batchSize}, raw being kafkajs`,
      unit: 'messages',
      rounds: bench.quick ? 2 : 5,
      bar: { ratio: 0.8 },
      cases: [
        {
          length: log.length,
          n: log.length,
          ours: async () => {
            const before = await countOf(admin, topics.ours);
            await log.send(transport, topics.ours, batchSize);
            return (await countOf(admin, topics.ours)) - before;
          },
          raw: async () => {
            const before = await countOf(admin, topics.raw);
            for (const batch of bareMessages(log.length, batchSize, 'ce_')) {
              const messages = batch.map(({ key, headers, body }) => ({ key, headers, value: body }));
              await producer.send({ topic: topics.raw, acks: -1, messages });
            }
            return (await countOf(admin, topics.raw)) - before;
          },
          correct: (ours, raw) => ours === log.length && raw === log.length,
        },
      ],
    });
  }
  await transport.close();
  await producer.disconnect();
  await admin.disconnect();
}

/** How many records a topic has had. */
async function countOf(admin: Admin, topic: string): Promise<number> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return offsets.reduce((sum, { high }) => sum + Number(high), 0);
}
