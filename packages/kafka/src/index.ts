export type {
  KafkaAdmin,
  KafkaClient,
  KafkaFetched,
  KafkaProducer,
  KafkaReceived,
  KafkaRecord,
  KafkaRetry,
  KafkaRunConfig,
  KafkaSubscriber,
  KafkaTopicRecords,
  KafkaTransaction,
} from './client.js';
export {
  kafkaConsumer,
  type KafkaConsumer,
  type KafkaConsumerOptions,
  type KafkaMessageContext,
  type KafkaMessageHandler,
} from './kafka-consumer.js';
export { kafkaTopic, type KafkaTopicOptions } from './kafka-topic.js';
export type { KafkaExactlyOnceOptions } from './kafka-position-log.js';
export { KafkaTransport, kafkaTransport, type KafkaTransportOptions } from './kafka-transport.js';
export { partitionOf } from './partition-of.js';
export { messageOf } from './record.js';
