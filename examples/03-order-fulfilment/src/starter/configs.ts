import { newWebhookSecret } from '@refold/core';
import { createServer } from 'node:net';
import { join } from 'node:path';
import {
  SERVICES,
  type ServiceConfig,
  type ServiceName,
  type StoreConfig,
  type WireConfig,
} from '../service/config.js';
import { addressIn, type Options } from './options.js';

/** The configuration of every service. Files are in `folder`; schemas and queues bear the name of the run. */
export async function configsFor(
  { store, transport }: Options,
  folder: string,
): Promise<(service: ServiceName) => ServiceConfig> {
  const run = `shop_${process.pid}_${Date.now().toString(36)}`;
  const wire = await wireOf(transport, `${run}.`);
  const postgres = store === 'postgres' ? addressIn('DATABASE_URL') : undefined;
  const storeOf = (service: ServiceName): StoreConfig =>
    postgres === undefined
      ? { kind: 'sqlite', file: join(folder, `${service}.db`) }
      : { kind: 'postgres', url: postgres, schema: `${run}_${service}` };
  return (service) => ({ store: storeOf(service), wire });
}

async function wireOf(transport: Options['transport'], prefix: string): Promise<WireConfig> {
  if (transport === 'rabbitmq') return { kind: 'rabbitmq', url: addressIn('REFOLD_RABBITMQ_URL'), prefix };
  if (transport === 'kafka') {
    return { kind: 'kafka', brokers: addressIn('REFOLD_KAFKA_BROKERS').split(','), prefix };
  }
  const found = await freePorts(SERVICES.length);
  const [orders = 0, payments = 0, inventory = 0, shipping = 0, notifications = 0] = found;
  const ports = { orders, payments, inventory, shipping, notifications };
  return { kind: 'webhook', ports, secret: newWebhookSecret() };
}

/** Ports that nobody listened to a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address === 'object' && address) ports.push(address.port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}
