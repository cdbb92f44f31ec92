import { newWebhookSecret, type Message } from '@refold/core';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request that an endpoint was sent. */
export interface Arrived {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly path: string;
}

/** Answers a request: with a status, or itself. */
export type Answering = (
  request: Arrived,
  response: ServerResponse,
) => number | void | Promise<number | void>;

export const SECRET = newWebhookSecret();

/** An HTTP server on this machine that does what a test tells it to. */
export class Endpoint {
  readonly requests: Arrived[] = [];
  answer: Answering = () => 200;
  /** Requests that are under way, at most so far. */
  most = 0;
  connections = 0;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #underWay = 0;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}/hooks/in`;
  }

  /** Begins to listen; after `stop`, at the same address. */
  async start(): Promise<this> {
    const server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const { headers, url: path = '' } = request;
        void this.#handle({ headers, path, body: Buffer.concat(parts) }, response);
      });
    });
    server.on('connection', (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
    return this;
  }

  /** Breaks all connections and takes no more. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    server.close();
    this.hangUp();
    await once(server, 'close');
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #handle(request: Arrived, response: ServerResponse): Promise<void> {
    this.requests.push(request);
    this.#underWay += 1;
    this.most = Math.max(this.most, this.#underWay);
    const status = await this.answer(request, response);
    this.#underWay -= 1;
    if (status !== undefined) response.writeHead(status).end();
  }
}

/** A message like those of deliveries. */
export function message(index: number, { key = `key-${index}`, ...over }: Partial<Message> = {}): Message {
  return {
    topic: 'orders',
    key,
    headers: {},
    attributes: {
      specversion: '1.0',
      id: `00000000-0000-7000-8000-${String(index).padStart(12, '0')}`,
      source: '/orders_out',
      type: 'OrderPlaced',
      subject: `order-${key}`,
      time: '2026-01-02T03:04:05.678Z',
      datacontenttype: 'application/json',
      partitionkey: key,
      sequence: String(index).padStart(16, '0'),
    },
    body: Buffer.from(JSON.stringify({ index })),
    ...over,
  };
}

/** The index of the message that a request brought. */
export function indexOf({ body }: Arrived): number {
  return (JSON.parse(body.toString()) as { index: number }).index;
}

export function never(): AbortSignal {
  return new AbortController().signal;
}
