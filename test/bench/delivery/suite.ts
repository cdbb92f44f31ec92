import type { Suite } from '../harness.js';
import { compareDeliveryLatency } from '../postgres/latency.js';
import { Databases, makeLogs } from '../postgres/logs.js';
import { stopRabbitmq } from '../../services/rabbitmq.js';
import { compareRabbitmq } from './rabbitmq.js';
import { SentLog } from './sending.js';

/** Deliveries through transports against the bare clients, and to handlers against a bare notification. */
export const deliverySuite: Suite = {
  name: 'delivery',
  about:
    'deliveries to RabbitMQ, Kafka and webhooks against the bare clients, and to handlers against NOTIFY',
  async run(bench) {
    try {
      await using log = await SentLog.of(bench.quick ? 2000 : 20_000);
      await compareRabbitmq(bench, log);
    } finally {
      await stopRabbitmq();
    }
    await using databases = await Databases.open();
    await compareDeliveryLatency(bench, await makeLogs(databases, bench.quick ? 2000 : 10_000));
  },
};
