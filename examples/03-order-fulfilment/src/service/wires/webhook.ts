import { receiveWebhook, webhookTransport } from '@refold/core';
import { createServer, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { WebhookConfig } from '../config.js';
import type { HandleMessage, Intake, Wire } from '../wires.js';

/** Signed requests from service to service. */
export function webhooks({ ports, secret }: WebhookConfig): Wire {
  return {
    transportTo: (service) =>
      webhookTransport({
        url: `http://127.0.0.1:${ports[service]}/messages`,
        secret,
        // A service that is down is no reason to wait here: its messages become dead letters.
        whenUnavailable: 'reject',
        circuit: { failures: 20, openMs: 200 },
      }),
    openIntake: (service, handle) => openEndpoint(ports[service], secret, handle),
  };
}

async function openEndpoint(port: number, secret: string, handle: HandleMessage): Promise<Intake> {
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
