import type { BrokerTarget } from './broker.js';
import { kafkaTarget } from './kafka-target.js';
import { rabbitmqTarget } from './rabbitmq-target.js';
import { webhookTarget } from './webhook-target.js';

/** All ways to deliver that runs know. */
export const brokers: readonly BrokerTarget[] = [
  rabbitmqTarget,
  webhookTarget,
  kafkaTarget('atLeastOnce'),
  kafkaTarget('exactlyOnce'),
];

/** @throws Error that names those that there are */
export function brokerNamed(name: string): BrokerTarget {
  const broker = brokers.find((one) => one.name === name);
  if (broker) return broker;
  throw new Error(`There is no broker "${name}": there is ${brokers.map((one) => one.name).join(', ')}`);
}
