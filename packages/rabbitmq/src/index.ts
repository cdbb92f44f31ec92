export type { RabbitmqConnectionOptions } from './connection.js';
export type { RoutingKey } from './publishing.js';
export type { RabbitmqBinding, RabbitmqExchange, RabbitmqQueue, RabbitmqTopology } from './topology.js';
export { rabbitmqTransport, type RabbitmqTransportOptions } from './transport.js';
