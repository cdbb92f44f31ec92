import type { KafkaAdmin } from '@refold/kafka';

/** An administrating client whose topics are all there, each with so many empty partitions. */
export function adminOf(count: number): KafkaAdmin {
  const partitions = Array.from({ length: count }, (_, partition) => ({ partition, high: '0', low: '0' }));
  return {
    connect: () => Promise.resolve(),
    disconnect: () => Promise.resolve(),
    createTopics: () => Promise.resolve(true),
    fetchTopicMetadata: ({ topics }) =>
      Promise.resolve({
        topics: topics.map((name) => ({
          name,
          partitions: partitions.map((one) => ({ partitionId: one.partition })),
        })),
      }),
    fetchTopicOffsets: () => Promise.resolve(partitions),
    deleteGroups: () => Promise.resolve(),
  };
}
