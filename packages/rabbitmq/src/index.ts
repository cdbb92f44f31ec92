export type { RabbitmqConnectionOptions } from './connection.js';
export {
  rabbitmqConsumer,
  type RabbitmqConsumer,
  type RabbitmqConsumerOptions,
  type RabbitmqMessageContext,
  type RabbitmqMessageHandler,
} from './consumer.js';
export type { RoutingKey } from './publishing.js';
export { rabbitmqStream, type RabbitmqStreamOptions } from './stream.js';
export type { RabbitmqBinding, RabbitmqExchange, RabbitmqQueue, RabbitmqTopology } from './topology.js';
export { rabbitmqTransport, type RabbitmqTransportOptions } from './transport.js';
