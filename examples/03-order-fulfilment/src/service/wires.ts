import { receiveWebhook, webhookTransport, type ReceivedMessage, type Transport } from '@refold/core';
import type { RabbitmqTopology } from '@refold/rabbitmq';
import type { ServiceIdentifier } from 'inversify';
import { createServer, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { SERVICES, type ServiceName, type WireConfig } from './config.js';

/** Identifies the transport that leads to a service. */
export function wireTo(service: ServiceName): ServiceIdentifier<Transport> {
  return Symbol.for(`wire to ${service}`);
}

/** Makes the transport that leads to a service. */
export async function transportTo(service: ServiceName, wire: WireConfig): Promise<Transport> {
  switch (wire.kind) {
    case 'webhook':
      return webhookTransport({
        url: `http://127.0.0.1:${wire.ports[service]}/messages`,
        secret: wire.secret,
        // A service that is down is no reason to wait here: its messages become dead letters.
        whenUnavailable: 'reject',
        circuit: { failures: 20, openMs: 200 },
      });
    case 'rabbitmq': {
      const { rabbitmqTransport } = await import('@refold/rabbitmq');
      const topology = queuesOf(wire.prefix);
      return rabbitmqTransport({ url: wire.url, topology, routingKey: ({ topic }) => wire.prefix + topic });
    }
  }
}

/** Something that takes messages until it is closed. */
export interface Intake {
  close(): Promise<void>;
}

/** Takes the messages for a service. Each is acknowledged when `handle` has ended well, and comes again if not. */
export async function openIntake(
  service: ServiceName,
  wire: WireConfig,
  handle: (message: ReceivedMessage) => Promise<void>,
): Promise<Intake> {
  switch (wire.kind) {
    case 'webhook':
      return openEndpoint(wire.ports[service], wire.secret, handle);
    case 'rabbitmq': {
      const { rabbitmqConsumer } = await import('@refold/rabbitmq');
      const { url, prefix } = wire;
      const consumer = rabbitmqConsumer({
        ...{ url, queue: prefix + service, topology: queuesOf(prefix) },
        concurrency: 10,
      });
      const stop = new AbortController();
      const running = consumer.run(handle, { signal: stop.signal });
      return {
        close: async () => {
          stop.abort();
          await running;
        },
      };
    }
  }
}

function queuesOf(prefix: string): RabbitmqTopology {
  return {
    queues: SERVICES.map((service) => ({
      name: prefix + service,
      // Each run has its own, which go by themselves.
      arguments: { 'x-expires': 3_600_000 },
    })),
  };
}

async function openEndpoint(
  port: number,
  secret: string,
  handle: (message: ReceivedMessage) => Promise<void>,
): Promise<Intake> {
  const answer = async (request: IncomingMessage): Promise<number> => {
    const { headers } = request;
    await handle(receiveWebhook({ headers, body: await buffer(request), secret }));
    return 204;
  };
  const server = createServer((request, response) => {
    answer(request)
      .catch((error: unknown) => {
        console.error(error);
        return 500;
      })
      .then((status) => response.writeHead(status).end())
      .catch(console.error);
  });
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(port, '127.0.0.1', resolve),
  );
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
