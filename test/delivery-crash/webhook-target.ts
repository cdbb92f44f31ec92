import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { receiveWebhook, webhookTransport, type ReceivedMessage } from '@refold/core';
import { freePort } from '../services/free-port.js';
import type { BrokerTarget } from './broker.js';

/** Both sides of a run share it; it protects nothing. */
const SECRET = `whsec_${Buffer.from('a secret for tests alone').toString('base64')}`;

/** Requests to a consumer that is its own endpoint: there is no broker in between that could be killed. */
export const webhookTarget: BrokerTarget = {
  name: 'webhook',
  guarantee: 'atLeastOnce',
  service: async () => ({ address: `http://127.0.0.1:${await freePort()}/counts` }),
  prepare: () => Promise.resolve(),
  transport: ({ address }) =>
    webhookTransport({ url: address, secret: SECRET, circuit: { failures: 3, openMs: 200 } }),
  consume: async ({ address }, handler, signal) => {
    const server = createServer((request, response) => {
      received(request)
        .then(handler)
        .then(
          () => response.writeHead(204).end(),
          (error: unknown) => response.writeHead(500).end(String(error)),
        );
    }).listen(Number(new URL(address).port), '127.0.0.1');
    await once(signal, 'abort');
    server.close();
  },
};

async function received(request: IncomingMessage): Promise<ReceivedMessage> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return receiveWebhook({ headers: request.headers, body: Buffer.concat(chunks), secret: SECRET });
}
