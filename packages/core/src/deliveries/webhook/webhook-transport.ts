import type { Message } from '../message.js';
import { sendByKey } from '../send-by-key.js';
import { Slots } from '../slots.js';
import type { SendResult, Transport } from '../transport.js';
import { MessageRejectedError, SubscriberGoneError, TransportUnavailableError } from '../transport-errors.js';
import { Breaker } from './breaker.js';
import { refusePrivateHost } from './addresses.js';
import { Endpoint } from './endpoint.js';
import { Connections, type Answer, type Outgoing } from './exchange.js';
import { percentEncoded } from './percent-encoding.js';
import { signatureHeaders } from './signature.js';
import { Targets, targetOf, type Target } from './target.js';
import { verdictOf, verdictOfError, type Verdict } from './verdict.js';
import { webhookContent } from './webhook-message.js';
import {
  checkWebhookOptions,
  endpointName,
  endpointUrl,
  type CheckedWebhookOptions,
  type WebhookTransportOptions,
} from './webhook-options.js';

/** Sends messages as webhooks. Make it with `webhookTransport`. */
export class WebhookTransport implements Transport {
  readonly name: string;
  readonly supports = { exactlyOnce: false };
  readonly #options: CheckedWebhookOptions;
  readonly #slots: Slots;
  readonly #targets = new Targets();
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #anywhere = new Connections({ publicOnly: false });
  readonly #public = new Connections({ publicOnly: true });
  #closed = false;

  constructor(options: CheckedWebhookOptions) {
    const { url, concurrency } = options;
    this.name = typeof url === 'string' ? endpointName(new URL(url)) : 'webhook';
    this.#options = options;
    this.#slots = new Slots(concurrency);
  }

  async send(batch: readonly Message[], signal: AbortSignal): Promise<SendResult> {
    const { stopMs } = this.#options;
    // Requests under way get a moment more than those that are not begun.
    const breaker = new Breaker();
    let timer: NodeJS.Timeout | undefined;
    const stop = (): void => {
      timer = setTimeout(() => breaker.break(), stopMs);
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await sendByKey(batch, {
        transport: this.name,
        slots: this.#slots,
        signal,
        send: (message) => this.#sendOne(message, breaker),
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#anywhere.close();
    this.#public.close();
    return Promise.resolve();
  }

  async #sendOne(message: Message, breaker: Breaker): Promise<void> {
    if (this.#closed) throw new TransportUnavailableError(this.name, 'it is closed');
    const target = this.#targetOf(message);
    const endpoint = this.#endpointOf(target.name);
    const begun = endpoint.begin();
    if ('waitMs' in begun) {
      const reason = 'it did not answer lately, and is left alone for a while';
      throw this.#unavailable(endpoint, message, reason, begun.waitMs);
    }
    const found = await this.#verdict(target, message, breaker);
    const stopped = breaker.isBroken || this.#closed;
    const verdict = begun.judge(message.attributes.id, found, stopped);
    if (endpoint.isIdle) this.#endpoints.delete(endpoint.name);
    if (verdict.kind === 'accepted') return;
    if (stopped) throw new TransportUnavailableError(endpoint.name, verdict.reason);
    throw this.#errorOf(verdict, endpoint, message);
  }

  #targetOf(message: Message): Target {
    const { url } = this.#options;
    const rejected = (problem: string, cause?: unknown): Error =>
      this.#rejected(this.name, message, problem, { permanent: true, cause });
    let text: string;
    try {
      text = typeof url === 'string' ? url : url(message);
    } catch (cause) {
      throw rejected('its url cannot be told', cause);
    }
    return this.#targets.get(text, () => endpointUrl(text, rejected));
  }

  #endpointOf(name: string): Endpoint {
    const known = this.#endpoints.get(name);
    if (known) return known;
    const endpoint = new Endpoint(name, this.#options.circuit, this.#options.suspectAfterMs);
    this.#endpoints.set(name, endpoint);
    return endpoint;
  }

  async #verdict(target: Target, message: Message, breaker: Breaker): Promise<Verdict> {
    const { mode, headers: common, keys, clock, allowPrivate, redirects } = this.#options;
    try {
      const { headers, body } = webhookContent(message, mode);
      const signature = signatureHeaders(percentEncoded(message.attributes.id), body, keys, clock.now());
      const outgoing = { target, headers: { ...common, ...headers, ...signature }, body };
      return await this.#exchange(outgoing, allowPrivate.first, redirects, breaker);
    } catch (error) {
      return verdictOfError(error);
    }
  }

  async #exchange(
    outgoing: Outgoing,
    allowPrivate: boolean,
    redirects: number,
    breaker: Breaker,
  ): Promise<Verdict> {
    if (!allowPrivate) refusePrivateHost(outgoing.target.url);
    const connections = allowPrivate ? this.#anywhere : this.#public;
    const answer = await connections.post(outgoing, this.#options.timeoutMs, breaker);
    if (answer.status < 300 || answer.status > 399) return verdictOf(answer);
    const next = redirected(outgoing, answer, redirects, Object.keys(this.#options.headers));
    if (typeof next === 'string') return { kind: 'rejected', reason: next, permanent: false };
    return this.#exchange(next, this.#options.allowPrivate.redirected, redirects - 1, breaker);
  }

  #errorOf(
    verdict: Exclude<Verdict, { readonly kind: 'accepted' }>,
    endpoint: Endpoint,
    message: Message,
  ): Error {
    const { name } = endpoint;
    const { reason } = verdict;
    switch (verdict.kind) {
      case 'unavailable':
      case 'doubtful':
        return this.#unavailable(endpoint, message, reason, verdict.retryAfterMs);
      case 'gone':
        // One of many endpoints is no reason to stop for all.
        if (this.#options.whenUnavailable === 'wait') {
          return new SubscriberGoneError(name, message.attributes.id, reason);
        }
        return this.#rejected(name, message, reason, { permanent: true });
      case 'rejected':
        return this.#rejected(name, message, reason, { permanent: verdict.permanent });
    }
  }

  /** Whoever does not wait for the endpoint is not told how long it asks to be left alone: all would wait for that. */
  #unavailable({ name }: Endpoint, message: Message, reason: string, retryAfterMs?: number): Error {
    return this.#options.whenUnavailable === 'wait'
      ? new TransportUnavailableError(name, reason, { retryAfterMs })
      : this.#rejected(name, message, reason);
  }

  #rejected(
    name: string,
    { attributes, topic }: Message,
    reason: string,
    options: { readonly permanent?: boolean; readonly cause?: unknown } = {},
  ): MessageRejectedError {
    return new MessageRejectedError(name, attributes.id, topic, reason, options);
  }
}

/**
 * A transport that posts each message to an HTTP endpoint, as a CloudEvent and signed as Standard Webhooks say. A status of
 * 2xx accepts it. Messages of one key wait for each other.
 * @throws DefinitionError for a bad option
 */
export function webhookTransport(options: WebhookTransportOptions): WebhookTransport {
  return new WebhookTransport(checkWebhookOptions(options));
}

/** The request that a redirect asks for, or why it is not made. */
function redirected(
  { target: { url }, headers, body }: Outgoing,
  { status, headers: { location } }: Answer,
  left: number,
  secret: readonly string[],
): Outgoing | string {
  if (location === undefined || !URL.canParse(location, url.href))
    return `it answered ${status}, with no address`;
  const next = new URL(location, url);
  const to = `it answered ${status} to ${next.origin}${next.pathname}`;
  if (left <= 0) return `${to}, and redirects are not followed: send there, or raise "redirects"`;
  if (status !== 307 && status !== 308) return `${to}, and only 307 and 308 leave a message as it is`;
  if (!/^https?:$/.test(next.protocol)) return `${to}, which is not HTTP`;
  if (url.protocol === 'https:' && next.protocol === 'http:') return `${to}, which is not encrypted`;
  if (next.origin === url.origin) return { target: targetOf(next), headers, body };
  const kept = Object.entries(headers).filter(([name]) => !secret.includes(name));
  return { target: targetOf(next), headers: Object.fromEntries(kept), body };
}
