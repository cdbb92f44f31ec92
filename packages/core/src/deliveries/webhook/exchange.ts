import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import { messageOf } from '../../errors.js';
import { publicLookup } from './addresses.js';
import type { Breaker } from './breaker.js';
import type { Target } from './target.js';

/** How much of an answer is kept to be shown. */
const EXCERPT_BYTES = 500;

/** How much of an answer is read, so that its connection can be used again; one that is longer costs the connection. */
const MOST_READ_BYTES = 64 * 1024;

/** Bodies up to this size are copied to be sent with their headers. */
const MOST_COPIED_BYTES = 16 * 1024;

/** One request. */
export interface Outgoing {
  readonly target: Target;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The beginning of its body. */
  readonly excerpt: string;
}

/** No answer came back. */
export class NoAnswerError extends Error {
  constructor(
    /** Whether there was a connection, over which the other side may have read the request. */
    readonly connected: boolean,
    readonly timedOut: boolean,
    reason: string,
    cause?: unknown,
  ) {
    super(reason, { cause });
  }
}

/** Connections that are kept open, to any address or only to those on the public internet. */
export class Connections {
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;

  constructor({ publicOnly }: { readonly publicOnly: boolean }) {
    const options = { keepAlive: true, ...(publicOnly && { lookup: publicLookup }) };
    this.#http = new HttpAgent(options);
    this.#https = new HttpsAgent(options);
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /**
   * Posts a request and reads the answer. A connection that turns out to have been closed by the other side while it was
   * idle is replaced.
   * @throws NoAnswerError
   */
  async post(outgoing: Outgoing, timeoutMs: number, breaker: Breaker): Promise<Answer> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const exchange = new Exchange(this.#request(outgoing), deadline - performance.now(), breaker);
      try {
        return await exchange.answer(outgoing.body);
      } catch (error) {
        if (!exchange.wasStale || breaker.isBroken) throw error;
      }
    }
  }

  #request({ target, headers, body }: Outgoing): ClientRequest {
    const secure = target.url.protocol === 'https:';
    // A list costs the client less than an object, and it adds nothing to one.
    const list = ['host', target.url.host, 'content-length', String(body.byteLength)];
    for (const name in headers) list.push(name, headers[name] ?? '');
    if (target.authorization !== undefined && !('authorization' in headers)) {
      list.push('authorization', target.authorization);
    }
    const options: RequestOptions = {
      method: 'POST',
      hostname: target.hostname,
      port: target.url.port || undefined,
      path: target.path,
      headers: list,
      agent: secure ? this.#https : this.#http,
    };
    return secure ? httpsRequest(options) : httpRequest(options);
  }
}

/** One request on one connection. */
class Exchange {
  readonly #request: ClientRequest;
  readonly #timeoutMs: number;
  readonly #breaker: Breaker;
  #connected = false;
  #response: IncomingMessage | undefined;
  #error: (Error & { readonly code?: string }) | undefined;

  constructor(request: ClientRequest, timeoutMs: number, breaker: Breaker) {
    this.#request = request;
    this.#timeoutMs = timeoutMs;
    this.#breaker = breaker;
  }

  /** Whether it failed since the connection, kept from earlier requests, was closed already. */
  get wasStale(): boolean {
    const broken = this.#error?.code === 'ECONNRESET' || this.#error?.code === 'EPIPE';
    return broken && this.#request.reusedSocket && !this.#response;
  }

  async answer(body: Uint8Array): Promise<Answer> {
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      this.#request.destroy(new Error(`no answer within ${this.#timeoutMs.toFixed()} ms`));
    }, this.#timeoutMs);
    const done = this.#breaker.add(() => {
      this.#request.destroy(new Error('told to stop before it was answered'));
    });
    try {
      return await this.#exchange(body);
    } catch (error) {
      throw new NoAnswerError(this.#connected, timedOut, reasonOf(error), error);
    } finally {
      clearTimeout(timer);
      done();
    }
  }

  #exchange(body: Uint8Array): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#request.on('socket', (socket) => {
        if (!socket.connecting) this.#connected = true;
        else {
          const secure = 'encrypted' in socket;
          socket.once(secure ? 'secureConnect' : 'connect', () => (this.#connected = true));
        }
      });
      this.#request.on('error', (error) => {
        this.#error ??= error;
        // Once there is an answer, its status says it all, even if the rest of it never comes.
        if (!this.#response) reject(error);
      });
      this.#request.on('response', (response) => {
        this.#response = response;
        read(response, resolve);
      });
      sendBody(this.#request, body);
    });
  }
}

/** Sends a small body as text of the same bytes, which goes out in one write with the headers instead of in one of its own. */
function sendBody(request: ClientRequest, body: Uint8Array): void {
  if (body.byteLength > MOST_COPIED_BYTES) request.end(body);
  else request.end(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1'), 'latin1');
}

/** Reads an answer to its end, or as much of it as is of use. */
function read(response: IncomingMessage, done: (answer: Answer) => void): void {
  const { statusCode: status = 0, headers } = response;
  const kept: Buffer[] = [];
  let size = 0;
  response.on('data', (chunk: Buffer) => {
    if (size < EXCERPT_BYTES) kept.push(chunk.subarray(0, EXCERPT_BYTES - size));
    size += chunk.byteLength;
    if (size > MOST_READ_BYTES) response.destroy();
  });
  // A broken connection is reported here too; the end of it is all that matters.
  response.on('error', () => undefined);
  response.on('close', () => done({ status, headers, excerpt: Buffer.concat(kept).toString('utf8') }));
}

/** Several addresses that were tried fail with one error that says nothing itself. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map((one) => messageOf(one)).join(', ');
  return messageOf(error);
}
