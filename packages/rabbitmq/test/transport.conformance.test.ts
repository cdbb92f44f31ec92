import { rabbitmqTransport, type RabbitmqTransportOptions } from '@refold/rabbitmq';
import { transportConformance, type OpenedTransport } from '@refold/testing/conformance';
import { describe } from 'mocha';
import { arrivalOf } from '../dist/arrivals.js';
import { freshName, Observer, useRabbitmq } from './broker.js';
import { Proxy } from './proxy.js';

describe('rabbitmqTransport', () => {
  const broker = useRabbitmq();

  const open =
    (options: Partial<RabbitmqTransportOptions>) =>
    async (topics: readonly string[]): Promise<OpenedTransport> => {
      const proxy = await Proxy.before(broker().address);
      const observer = await Observer.at(broker().address);
      const exchange = freshName('shop');
      const queues = topics.map((topic) => ({
        name: topic,
        bindings: [{ exchange, pattern: `${topic}.#` }],
      }));
      const topology = { exchanges: [{ name: exchange }], queues };
      const transport = rabbitmqTransport({ url: proxy.address, exchange, topology, ...options });
      for (const { name } of queues) await observer.queue(name);
      const taken = new Map<string, Awaited<ReturnType<Observer['take']>>>();
      for (const { name } of queues) taken.set(name, await observer.take(name));
      return {
        transport,
        received: async (topic) => (taken.get(topic) ?? []).map((message) => arrivalOf(message, () => '')),
        rejected: (message) => ({ ...message, topic: `${message.topic}-nowhere` }),
        break: () => proxy.break(),
        mend: () => proxy.mend(),
        close: async () => {
          await proxy.break();
          await observer.channel.deleteExchange(exchange);
          await observer.close();
        },
      };
    };

  transportConformance({
    name: 'rabbitmqTransport, pipelined',
    open: open({}),
    lacks: { holdingBack: 'messages are published before the broker has answered those in front of them' },
  });
  transportConformance({
    name: 'rabbitmqTransport, strict',
    open: open({ order: 'strict', routingKey: 'topic.key' }),
  });
});
