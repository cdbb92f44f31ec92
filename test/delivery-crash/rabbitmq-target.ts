import { silentLogger } from '@refold/core';
import { rabbitmqConsumer, rabbitmqTransport } from '@refold/rabbitmq';
import { ownRabbitmqService } from '../services/rabbitmq.js';
import type { BrokerTarget } from './broker.js';
import type { Task } from './counted.js';

function topologyOf({ topic }: Task): { queues: { name: string }[] } {
  return { queues: [{ name: topic }] };
}

/** A quorum queue, with confirms, and a consumer that acknowledges what it has handled. */
export const rabbitmqTarget: BrokerTarget = {
  name: 'rabbitmq',
  guarantee: 'atLeastOnce',
  service: ownRabbitmqService,
  prepare: () => Promise.resolve(),
  transport: (task) => rabbitmqTransport({ url: task.address, topology: topologyOf(task) }),
  consume: (task, handler, signal) =>
    rabbitmqConsumer({
      url: task.address,
      queue: task.topic,
      topology: topologyOf(task),
      logger: silentLogger,
    }).run(handler, { signal }),
};
