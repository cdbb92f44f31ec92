import { attributeHeaders } from '../cloud-events.js';
import type { Message } from '../message.js';
import { percentEncoded } from './percent-encoding.js';

/**
 * How a message is put into a request:
 * - `binary`: the body is the payload, the attributes are headers
 * - `structured`: the body is a JSON object with both, which the signature covers
 */
export type WebhookMode = 'binary' | 'structured';

/** A message as the headers and the body of a request. */
export interface WebhookContent {
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;
}

/** Headers that are about the connection, or that the client sets. */
const RESERVED =
  /^(connection|content-length|content-type|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|webhook-.*|ce-.*)$/i;

/** The first name that no header of the user's may have. */
export function reservedHeader(headers: Readonly<Record<string, string>>): string | undefined {
  return Object.keys(headers).find((name) => RESERVED.test(name));
}

/**
 * Puts a message into a request.
 * @throws Error if that cannot be done: of a header of its own that is reserved, or a body that is not the JSON it says to be
 */
export function webhookContent(message: Message, mode: WebhookMode): WebhookContent {
  const reserved = reservedHeader(message.headers);
  if (reserved !== undefined) throw new Error(`its header "${reserved}" is one that the transport sets`);
  return mode === 'structured' ? structured(message) : binary(message);
}

function binary(message: Message): WebhookContent {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(attributeHeaders(message, 'ce-'))) {
    headers[name.toLowerCase()] = name.startsWith('ce-') ? percentEncoded(value) : value;
  }
  const { datacontenttype } = message.attributes;
  if (datacontenttype !== undefined) headers['content-type'] = datacontenttype;
  return { headers, body: message.body };
}

function structured({ attributes, headers, body }: Message): WebhookContent {
  const own = JSON.stringify(attributes).slice(0, -1);
  return {
    headers: { ...lowerCase(headers), 'content-type': 'application/cloudevents+json; charset=utf-8' },
    body: Buffer.from(`${own}${dataOf(body, attributes.datacontenttype)}}`),
  };
}

/** The member of the object that holds the payload. */
function dataOf(body: Uint8Array, contentType = 'application/json'): string {
  if (body.byteLength === 0) return '';
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!isJson(contentType)) return `,"data_base64":"${bytes.toString('base64')}"`;
  const text = bytes.toString('utf8');
  // What is no JSON would make the whole of it none.
  JSON.parse(text);
  return `,"data":${text}`;
}

/** Whether a content type says JSON. */
export function isJson(contentType: string): boolean {
  return /^[^;]*[/+]json\s*(;|$)/i.test(contentType);
}

/** Headers by their names in lower case. */
export function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
