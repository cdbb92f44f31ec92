// `npm run services`: starts the brokers that are not running, and stays until it is told to end.
import { once } from 'node:events';
import { kafkaService } from './kafka.js';
import { rabbitmqService } from './rabbitmq.js';
import type { Service } from './service.js';

interface Offer {
  readonly name: string;
  /** What tests and programs look at to find it. */
  readonly variable: string;
  readonly value: (service: Service) => string;
  readonly service: () => Promise<Service | { readonly missing: string }>;
}

const OFFERS: readonly Offer[] = [
  {
    name: 'RabbitMQ',
    variable: 'REFOLD_RABBITMQ_URL',
    value: ({ address }) => address,
    service: rabbitmqService,
  },
  {
    name: 'Kafka',
    variable: 'REFOLD_KAFKA_BROKERS',
    value: ({ address }) => address,
    service: kafkaService,
  },
];

const print = (line: string): boolean => process.stdout.write(`${line}\n`);

const running: Service[] = [];
for (const { name, variable, value, service } of OFFERS) {
  const found = await service().catch((error: unknown) => ({ missing: String(error) }));
  if ('missing' in found) {
    print(`# ${name} is missing: ${found.missing}`);
  } else {
    running.push(found);
    print(`# ${found.name}`);
    print(`export ${variable}=${value(found)}`);
  }
}

if (running.length > 0) {
  print('# Ctrl-C ends what was started here.');
  // Signals alone do not keep a process.
  const stay = setInterval(() => {}, 60_000);
  await Promise.race(['SIGINT', 'SIGTERM'].map((signal) => once(process, signal)));
  clearInterval(stay);
  for (const service of running) await service.stop();
} else {
  process.exitCode = 1;
}
