import { createTopics } from '@refold/test/services/kafka-topics';
import { ownKafkaService } from '@refold/test/services/kafka';
import { useService } from '@refold/test/services/in-tests';
import { kafkaTransport, messageOf } from '@refold/kafka';
import { transportConformance } from '@refold/testing/conformance';
import { describe } from 'mocha';
import { clientOf, follow, kafkaJsOf } from './fixture.js';

describe('on Kafka', function () {
  this.timeout(120_000);
  const broker = useService('Kafka', ownKafkaService);

  for (const rejecting of ['itself', 'the broker'] as const) {
    transportConformance({
      name: `kafkaTransport, where ${rejecting} rejects`,
      open: async (topics) => {
        const service = broker();
        const { address } = service;
        const kafka = kafkaJsOf(address);
        const config: Record<string, string> =
          rejecting === 'itself' ? {} : { 'max.message.bytes': '100000' };
        await createTopics(kafka, topics, { config });
        const transport = kafkaTransport({ kafka: clientOf(address) });
        let following: Awaited<ReturnType<typeof follow>> | undefined;
        const bytes = rejecting === 'itself' ? 1_100_000 : 200_000;
        return {
          transport,
          received: async (topic) => {
            following ??= await follow(kafka, topics);
            return following
              .records(topic)
              .map(({ partition, record }) => messageOf(topic, partition, record));
          },
          rejected: (message) => ({ ...message, body: Buffer.alloc(bytes) }),
          break: () => service.kill(),
          mend: () => service.start(),
          close: async () => following?.close(),
        };
      },
    });
  }
});
