import { rabbitmqConsumer, rabbitmqTransport } from '@refold/rabbitmq';
import { SERVICES, type RabbitmqConfig } from '../config.js';
import type { Wire } from '../wires.js';

/** A queue of RabbitMQ for each service. */
export function queues({ url, prefix }: RabbitmqConfig): Wire {
  const topology = {
    // Each run has its own, which go by themselves.
    queues: SERVICES.map((name) => ({
      name: prefix + name,
      // A service that takes over from one that died gets what that one had in hand first.
      singleActiveConsumer: true,
      arguments: { 'x-expires': 3_600_000 },
    })),
  };
  return {
    transportTo: (service) => rabbitmqTransport({ url, topology, routingKey: () => prefix + service }),
    openIntake: (service, handle) => {
      const consumer = rabbitmqConsumer({ url, topology, queue: prefix + service, concurrency: 10 });
      const stop = new AbortController();
      const running = consumer.run(handle, { signal: stop.signal });
      return Promise.resolve({
        close: async () => {
          stop.abort();
          await running;
        },
      });
    },
  };
}
