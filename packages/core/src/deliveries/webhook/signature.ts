import { createHmac, createSecretKey, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import { systemClock, type Clock } from '../../clock.js';
import { DefinitionError } from '../../errors.js';
import { WebhookSignatureError } from './webhook-errors.js';

/** What signs webhooks: `whsec_` and the base64 of 24 to 64 random bytes, as of `newWebhookSecret`; several while one replaces another. */
export type WebhookSecret = string | readonly string[];

/** Headers of a request: those of node:http, or a `Headers` object. Names in any case. */
export type WebhookHeaders =
  Iterable<readonly [string, string]> | Readonly<Record<string, string | readonly string[] | undefined>>;

/** What is checked. */
export interface WebhookToVerify {
  readonly headers: WebhookHeaders;
  /** The very bytes that came, before anything has read or changed them. */
  readonly body: Uint8Array | string;
  readonly secret: WebhookSecret;
  /** How far the time of the signature may be from now, in milliseconds. Default 5 minutes. */
  readonly toleranceMs?: number;
  readonly clock?: Pick<Clock, 'now'>;
}

const PREFIX = 'whsec_';

/** A new secret of 32 random bytes. */
export function newWebhookSecret(): string {
  return PREFIX + randomBytes(32).toString('base64');
}

/** @internal The keys of secrets. @throws DefinitionError for what is no secret; it does not repeat it */
export function secretKeys(subject: string, secret: WebhookSecret): KeyObject[] {
  const secrets = typeof secret === 'string' ? [secret] : secret;
  if (!Array.isArray(secrets) || secrets.length === 0) throw new DefinitionError(subject, 'it has no secret');
  return secrets.map((one: unknown) => {
    const text = typeof one === 'string' && one.startsWith(PREFIX) ? one.slice(PREFIX.length) : '';
    const key = Buffer.from(text, 'base64');
    // Buffers skip what is no base64: a secret with a typing error would be another one.
    const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(text);
    if (isBase64 && key.byteLength >= 24 && key.byteLength <= 64) return createSecretKey(key);
    throw new DefinitionError(
      subject,
      `a secret must be "${PREFIX}" and the base64 of 24 to 64 bytes: newWebhookSecret() makes one`,
    );
  });
}

/** @internal The headers of a message that is signed now. Source: https://www.standardwebhooks.com, version 1. */
export function signatureHeaders(
  id: string,
  body: Uint8Array,
  keys: readonly KeyObject[],
  nowMs: number,
): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1000));
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': keys.map((key) => `v1,${signed(key, id, timestamp, body)}`).join(' '),
  };
}

/**
 * Checks that a webhook was signed with one of the secrets, lately, and arrived as it was sent. It returns the id, which is
 * the same at every attempt.
 * @throws WebhookSignatureError, DefinitionError for what is no secret
 */
export function verifyWebhook({
  headers,
  body,
  secret,
  toleranceMs = 300_000,
  clock = systemClock,
}: WebhookToVerify): string {
  const all = headersOf(headers);
  const keys = secretKeys('verifyWebhook', secret);
  const [id, timestamp, signature] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => {
    const value = all[name];
    if (value) return value;
    throw new WebhookSignatureError('missing', `it has no header ${name}`);
  }) as [string, string, string];
  const ageMs = clock.now() - Number(timestamp) * 1000;
  if (!/^\d+$/.test(timestamp) || !(Math.abs(ageMs) <= toleranceMs)) {
    const problem = `it was signed at ${timestamp.slice(0, 20)}, more than ${toleranceMs} ms from now`;
    throw new WebhookSignatureError('expired', problem);
  }
  const expected = keys.map((key) => Buffer.from(signed(key, id, timestamp, body)));
  const given = signature.split(' ').filter((one) => one.startsWith('v1,'));
  const matches = given.flatMap((one) => expected.map((right) => equal(Buffer.from(one.slice(3)), right)));
  if (matches.includes(true)) return id;
  throw new WebhookSignatureError('mismatch', 'its signature was not made with this secret, or of this body');
}

/** @internal The headers by their names in lower case. */
export function headersOf(headers: WebhookHeaders): Record<string, string> {
  const entries: Iterable<readonly [string, string | readonly string[] | undefined]> = isIterable(headers)
    ? headers
    : Object.entries(headers);
  const all: Record<string, string> = {};
  for (const [name, value] of entries) {
    if (value !== undefined) all[name.toLowerCase()] = typeof value === 'string' ? value : value.join(', ');
  }
  return all;
}

function isIterable(headers: WebhookHeaders): headers is Iterable<readonly [string, string]> {
  return Symbol.iterator in headers;
}

function signed(key: KeyObject, id: string, timestamp: string, body: Uint8Array | string): string {
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
}

function equal(one: Buffer, other: Buffer): boolean {
  return one.byteLength === other.byteLength && timingSafeEqual(one, other);
}
