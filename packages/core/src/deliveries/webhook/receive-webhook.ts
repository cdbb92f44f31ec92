import { receivedMessage, type ReceivedMessage } from '../cloud-events.js';
import type { MessageAttributes } from '../message.js';
import { percentDecoded } from './percent-encoding.js';
import { headersOf, verifyWebhook, type WebhookToVerify } from './signature.js';
import { WebhookFormatError, WebhookSignatureError } from './webhook-errors.js';
import { isJson } from './webhook-message.js';

/** A request that has arrived. */
export interface ArrivedWebhook extends Omit<WebhookToVerify, 'secret'> {
  /** See `WebhookToVerify`; false only where something else vouches for the sender. */
  readonly secret: WebhookToVerify['secret'] | false;
  /** What the message's `topic` is to be, e.g. the path of the request. Default `webhook`. */
  readonly topic?: string;
}

/**
 * Checks the signature of a request and reads its message, in either mode of CloudEvents. What is no CloudEvent is read too:
 * its id is the header `webhook-id`, its payload the body.
 * @throws WebhookSignatureError, WebhookFormatError, DefinitionError for what is no secret
 */
export function receiveWebhook({ secret, topic = 'webhook', ...request }: ArrivedWebhook): ReceivedMessage {
  const signedId = secret === false ? undefined : verifyWebhook({ ...request, secret });
  const headers = headersOf(request.headers);
  const body = typeof request.body === 'string' ? Buffer.from(request.body) : request.body;
  const message = readable(() =>
    isStructured(headers) ? structured(topic, headers, body) : binary(topic, headers, body),
  );
  // Attributes in headers are not signed: with another id, a message that was seen would pass for a new one.
  if (signedId !== undefined && message.id !== signedId) {
    throw new WebhookSignatureError('mismatch', `its id ${message.id} is not the one that is signed`);
  }
  if (message.id === '') throw new WebhookFormatError('it has no id');
  return message;
}

function binary(topic: string, headers: Record<string, string>, body: Uint8Array): ReceivedMessage {
  const version = headers['ce-specversion'];
  if (version !== undefined && version !== '1.0') {
    throw new WebhookFormatError(`it is a CloudEvent of version ${version}, not 1.0`);
  }
  const decoded = Object.entries(headers).map(([name, value]): [string, string] => [
    name,
    name.startsWith('ce-') ? percentDecoded(value) : value,
  ]);
  const arrival = { topic, headers: Object.fromEntries(decoded), body };
  const defaults = version === undefined ? plainAttributes(headers) : undefined;
  return receivedMessage({ ...arrival, contentType: headers['content-type'], defaults }, 'ce-');
}

/** What stands for the attributes of a signed request that is no CloudEvent. */
function plainAttributes(headers: Record<string, string>): Partial<MessageAttributes> {
  const seconds = Number(headers['webhook-timestamp']);
  const time = seconds > 0 && seconds < 1e11 ? new Date(seconds * 1000).toISOString() : undefined;
  return { id: headers['webhook-id'], time };
}

function isStructured(headers: Record<string, string>): boolean {
  const type = headers['content-type']?.toLowerCase() ?? '';
  if (!type.startsWith('application/cloudevents')) return false;
  if (/^application\/cloudevents\+json\s*(;|$)/.test(type)) return true;
  throw new WebhookFormatError(`its content type is ${type}; only application/cloudevents+json is read`);
}

function structured(topic: string, headers: Record<string, string>, body: Uint8Array): ReceivedMessage {
  const event: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
  if (typeof event !== 'object' || event === null || Array.isArray(event)) {
    throw new WebhookFormatError('its body is no object');
  }
  const { data, data_base64: base64, ...attributes } = event as Record<string, unknown>;
  const defaults = textAttributes(attributes);
  if (defaults.specversion !== '1.0') {
    throw new WebhookFormatError(`it is no CloudEvent of version 1.0, but of ${defaults.specversion}`);
  }
  const arrival = {
    topic,
    headers,
    body: new Uint8Array(0),
    contentType: defaults.datacontenttype,
    defaults,
  };
  const message = receivedMessage(arrival, 'ce-');
  return { ...message, payload: payloadOf(data, base64, defaults.datacontenttype) };
}

/** Attributes may be numbers and truth values in JSON; as headers they are text. */
function textAttributes(attributes: Record<string, unknown>): Partial<MessageAttributes> {
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (typeof value === 'string') texts[name] = value;
    else if (typeof value === 'number' || typeof value === 'boolean') texts[name] = String(value);
    else throw new WebhookFormatError(`its attribute ${name} is no text`);
  }
  return texts;
}

function payloadOf(data: unknown, base64: unknown, contentType = 'application/json'): unknown {
  if (typeof base64 === 'string') {
    const bytes = Buffer.from(base64, 'base64');
    return isJson(contentType) ? JSON.parse(bytes.toString('utf8')) : bytes;
  }
  return typeof data === 'string' && !isJson(contentType) ? Buffer.from(data) : data;
}

function readable(read: () => ReceivedMessage): ReceivedMessage {
  try {
    return read();
  } catch (error) {
    if (error instanceof WebhookFormatError) throw error;
    throw new WebhookFormatError('it is not the JSON that it says to be', error);
  }
}
