import { silentLogger, type Guarantee } from '@refold/core';
import { kafkaConsumer, kafkaTopic, kafkaTransport } from '@refold/kafka';
import { Kafka, logLevel } from 'kafkajs';
import { createTopics } from '../services/kafka-topics.js';
import { ownKafkaService } from '../services/kafka.js';
import type { BrokerTarget } from './broker.js';
import type { Task } from './counted.js';

const TOPIC_PARTITIONS = 4;

/** A topic with partitions; under `exactlyOnce` the broker itself must have every message once. */
export function kafkaTarget(guarantee: Guarantee): BrokerTarget {
  return {
    name: guarantee === 'exactlyOnce' ? 'kafka-exactly-once' : 'kafka',
    guarantee,
    service: ownKafkaService,
    prepare: (task) => createTopics(clientOf(task), [task.topic], { partitions: TOPIC_PARTITIONS }),
    transport: (task) =>
      kafkaTransport({
        kafka: clientOf(task),
        exactlyOnce: { positionsTopic: `${task.topic}-positions`, transactionTimeoutMs: 10_000 },
      }),
    consume: (task, handler, signal) =>
      kafkaConsumer({
        kafka: clientOf(task),
        groupId: task.topic,
        topics: [task.topic],
        logger: silentLogger,
      }).run(handler, { signal }),
    ...(guarantee === 'exactlyOnce' ? { taken: takenFrom } : {}),
  };
}

function clientOf({ address }: Task): Kafka {
  return new Kafka({ brokers: address.split(','), logLevel: logLevel.NOTHING });
}

async function takenFrom(task: Task): Promise<readonly string[]> {
  const log = kafkaTopic({ kafka: clientOf(task), topic: task.topic });
  const ids: string[] = [];
  for (let partition = 0; partition < TOPIC_PARTITIONS; partition++) {
    const { last } = await log.bounds(partition);
    if (last === 0) continue;
    for await (const { events, through } of log.read(partition, 0, AbortSignal.timeout(60_000))) {
      ids.push(...events.map(({ id }) => id));
      if (through >= last) break;
    }
  }
  await log.close();
  return ids;
}
