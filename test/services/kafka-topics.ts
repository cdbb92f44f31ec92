import type { Kafka } from 'kafkajs';
import { setTimeout as sleep } from 'node:timers/promises';

/** How many partitions topics get, and how they are configured. */
export interface TopicsOptions {
  readonly partitions?: number;
  readonly config?: Readonly<Record<string, string>>;
}

/** Makes topics, so that they can be sent to when the promise has resolved. */
export async function createTopics(
  kafka: Kafka,
  topics: readonly string[],
  { partitions = 4, config = {} }: TopicsOptions = {},
): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
    await admin.createTopics({
      // The client would wait for leaders, and fail where a broker that hears late of the topic is asked.
      waitForLeaders: false,
      topics: topics.map((topic) => ({ topic, numPartitions: partitions, configEntries })),
    });
    for (const topic of topics) {
      for (let tries = 1; ; tries++) {
        try {
          await admin.fetchTopicOffsets(topic);
          break;
        } catch (error) {
          if (tries === 100) throw error;
          await sleep(100);
        }
      }
    }
  } finally {
    await admin.disconnect();
  }
}
