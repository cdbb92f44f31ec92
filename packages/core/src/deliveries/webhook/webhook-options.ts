import type { KeyObject } from 'node:crypto';
import { systemClock, type Clock } from '../../clock.js';
import { DefinitionError } from '../../errors.js';
import type { Message } from '../message.js';
import type { CircuitOptions } from './circuit.js';
import { secretKeys, type WebhookSecret } from './signature.js';
import { lowerCase, reservedHeader, type WebhookMode } from './webhook-message.js';

/** Where webhooks are sent, and how. */
export interface WebhookTransportOptions {
  /** The endpoint, or that of each message. `http:` or `https:`. */
  readonly url: string | ((message: Message) => string);
  /** Signs every request; several while a new one replaces an old one: each makes a signature, the first one first. */
  readonly secret: WebhookSecret;
  /** Default `'binary'`. */
  readonly mode?: WebhookMode;
  /** Further headers of every request, such as `authorization`. Those of a message win. Another origin does not get them. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How long an exchange may take, from connecting to the end of the answer. Default 15,000. */
  readonly timeoutMs?: number;
  /** Requests that are under way at once, over all deliveries that use the transport. Default 10. */
  readonly concurrency?: number;
  readonly circuit?: CircuitOptions;
  /** How many redirects (307 and 308) are followed. Default 0: they are rejections. */
  readonly redirects?: number;
  /**
   * Whether addresses are called that are not on the public internet. Default: only that of a fixed `url`, not what a
   * function returns, which may come from users, and not what a redirect leads to.
   */
  readonly allowPrivateNetworks?: boolean;
  /**
   * What becomes of messages for an endpoint that is unavailable: they `'wait'`, and with them all behind them in their
   * partition, for as long as it takes; or they are `'reject'`ed, so that those for other endpoints flow on while its own
   * become dead letters. Default: `'wait'` for a fixed `url`, `'reject'` for a function.
   */
  readonly whenUnavailable?: 'wait' | 'reject';
  /**
   * How long one message may fail by timeouts, broken connections, 502, 503 or 504, with no other being answered, before it
   * is held to be the cause and each failure counts as an attempt. Default 300,000.
   */
  readonly suspectAfterMs?: number;
  /** How long requests under way may take when the delivery is told to stop. Default 2,000. */
  readonly stopMs?: number;
  /** The time that is signed. */
  readonly clock?: Pick<Clock, 'now'>;
}

/** @internal The options, checked and with their defaults. */
export interface CheckedWebhookOptions extends Required<
  Omit<WebhookTransportOptions, 'secret' | 'allowPrivateNetworks'>
> {
  readonly keys: readonly KeyObject[];
  readonly allowPrivate: { readonly first: boolean; readonly redirected: boolean };
}

const SUBJECT = 'webhookTransport';

/** @internal @throws DefinitionError */
export function checkWebhookOptions(options: WebhookTransportOptions): CheckedWebhookOptions {
  const { url, mode = 'binary', headers = {}, circuit = {}, allowPrivateNetworks } = options;
  const isFixed = typeof url === 'string';
  const { timeoutMs = 15_000, concurrency = 10, redirects = 0 } = options;
  const { suspectAfterMs = 300_000, stopMs = 2000, clock = systemClock } = options;
  const { whenUnavailable = isFixed ? 'wait' : 'reject' } = options;
  if (isFixed) endpointUrl(url, (problem) => new DefinitionError(SUBJECT, problem));
  else if (typeof url !== 'function')
    throw new DefinitionError(SUBJECT, 'its url must be text or a function');
  checkOneOf('mode', mode, ['binary', 'structured']);
  checkOneOf('whenUnavailable', whenUnavailable, ['wait', 'reject']);
  const reserved = reservedHeader(headers);
  if (reserved !== undefined) throw new DefinitionError(SUBJECT, `it sets the header "${reserved}" itself`);
  checkNumber('timeoutMs', timeoutMs, 1);
  checkNumber('concurrency', concurrency, 1, true);
  checkNumber('redirects', redirects, 0, true);
  checkNumber('suspectAfterMs', suspectAfterMs, 0);
  checkNumber('stopMs', stopMs, 0);
  checkNumber('circuit.failures', circuit.failures ?? 1, 1, true);
  checkNumber('circuit.openMs', circuit.openMs ?? 0, 0);
  return {
    ...{ url, mode, circuit, timeoutMs, concurrency, redirects, suspectAfterMs, stopMs, clock },
    whenUnavailable,
    headers: lowerCase(headers),
    keys: secretKeys(SUBJECT, options.secret),
    allowPrivate: { first: allowPrivateNetworks ?? isFixed, redirected: allowPrivateNetworks ?? false },
  };
}

/** @internal The URL of an endpoint. Throws the error that is made of the problem. */
export function endpointUrl(text: unknown, error: (problem: string) => Error): URL {
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined;
  if (!url) throw error('its url is none');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw error(`its url must begin with http: or https:, not ${url.protocol}`);
  }
  return url;
}

/** @internal What names an endpoint without what may be secret. */
export function endpointName({ origin, pathname }: URL): string {
  return `webhook ${origin}${pathname}`;
}

function checkOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new DefinitionError(
    SUBJECT,
    `its ${name} must be one of ${allowed.join(', ')}, got ${String(value)}`,
  );
}

function checkNumber(name: string, value: number, least: number, whole = false): void {
  if (value >= least && (!whole || Number.isSafeInteger(value))) return;
  const what = whole ? 'a whole number' : 'a number';
  throw new DefinitionError(SUBJECT, `its ${name} must be ${what} from ${least}, got ${String(value)}`);
}
