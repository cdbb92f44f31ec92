import type { BrokerTarget } from './broker.js';
import { rabbitmqTarget } from './rabbitmq-target.js';

/** All ways to deliver that runs know. */
export const brokers: readonly BrokerTarget[] = [rabbitmqTarget];

/** @throws Error that names those that there are */
export function brokerNamed(name: string): BrokerTarget {
  const broker = brokers.find((one) => one.name === name);
  if (broker) return broker;
  throw new Error(`There is no broker "${name}": there is ${brokers.map((one) => one.name).join(', ')}`);
}
