import { webhookTransport } from '@refold/core';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../services/free-port.js';
import type { Bench } from '../harness.js';
import { bareMessages, type BareMessage, type SentLog } from './sending.js';

/** Requests under way at once, on both sides. */
const CONCURRENCY = 10;

/** Webhooks to an endpoint in another process: signed ones from the log, against bare requests. */
export async function compareWebhooks(bench: Bench, log: SentLog): Promise<void> {
  const port = await freePort();
  const endpoint = fork(fileURLToPath(new URL('endpoint-child.js', import.meta.url)), [String(port)]);
  await once(endpoint, 'message');
  const url = `http://127.0.0.1:${port}/in`;
  const secret = `whsec_${Buffer.from('a secret for measuring alone').toString('base64')}`;
  const transport = webhookTransport({ url, secret, concurrency: CONCURRENCY });
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });
  await bench.compare<number, number>({
    name: `webhooks, ${CONCURRENCY} at once, raw being node:http`,
    unit: 'messages',
    rounds: bench.quick ? 2 : 5,
    bar: { ratio: 0.8 },
    cases: [
      {
        length: log.length,
        n: log.length,
        ours: async () => {
          await log.send(transport, 'in', 1000);
          return received(endpoint);
        },
        raw: async () => {
          await postAll(url, agent, log.length);
          return received(endpoint);
        },
        correct: (ours, raw) => ours === log.length && raw === log.length,
      },
    ],
  });
  await transport.close();
  agent.destroy();
  endpoint.disconnect();
  await once(endpoint, 'exit');
}

async function postAll(url: string, agent: Agent, length: number): Promise<void> {
  const messages = [...bareMessages(length, length, 'ce-')].flat();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let message = messages[next++]; message; message = messages[next++]) await post(url, agent, message);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

function post(url: string, agent: Agent, { headers, body }: BareMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    const own = { ...headers, 'content-type': 'application/json', 'content-length': body.byteLength };
    const posted = request(url, { method: 'POST', agent, headers: own }, (response) => {
      response.resume();
      response.once('end', () => (response.statusCode === 204 ? resolve() : reject(new Error('Refused'))));
    });
    posted.once('error', reject);
    posted.end(body);
  });
}

/** How many requests the endpoint has had since it was last asked. */
async function received(endpoint: ChildProcess): Promise<number> {
  endpoint.send('count');
  const [count] = (await once(endpoint, 'message')) as [number];
  return count;
}
