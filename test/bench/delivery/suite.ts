import type { Suite } from '../harness.js';
import { compareDeliveryLatency } from '../postgres/latency.js';
import { Databases, makeLogs } from '../postgres/logs.js';
import { stopKafka } from '../../services/kafka.js';
import { stopRabbitmq } from '../../services/rabbitmq.js';
import { compareKafka } from './kafka.js';
import { compareRabbitmq } from './rabbitmq.js';
import { SentLog } from './sending.js';
import { compareWebhooks } from './webhooks.js';

/** Deliveries through transports against the bare clients, and to handlers against a bare notification. */
export const deliverySuite: Suite = {
  name: 'delivery',
  about:
    'deliveries to RabbitMQ, Kafka and webhooks against the bare clients, and to handlers against NOTIFY',
  async run(bench) {
    try {
      await using log = await SentLog.of(bench.quick ? 2000 : 20_000);
      await compareWebhooks(bench, log);
      await compareRabbitmq(bench, log);
      await compareKafka(bench, log);
    } finally {
      await Promise.all([stopRabbitmq(), stopKafka()]);
    }
    await using databases = await Databases.open();
    await compareDeliveryLatency(bench, await makeLogs(databases, bench.quick ? 2000 : 10_000));
  },
};
