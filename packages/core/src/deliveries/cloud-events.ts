import type { RecordedEvent } from '../store/event-store.js';
import type { Message, MessageAttributes } from './message.js';

/** A message as a subscriber has received it, whichever way it came. */
export interface ReceivedMessage<Payload = unknown> {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly topic: string;
  readonly key: string;
  /** Grows with every message of its source and key when compared as text; absent where the sender gives none. */
  readonly sequence: string | undefined;
  readonly correlationId: string | undefined;
  readonly causationId: string | undefined;
  readonly attributes: MessageAttributes;
  /** The transport's headers that are no attributes. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body: parsed where its content type is JSON, bytes otherwise, undefined where it is empty. */
  readonly payload: Payload;
}

const MOST_NAMES = 1_000;

/**
 * The attributes of a message as headers of a transport, in CloudEvents' binary mode, its own headers among them:
 * `ce_` before the name for Kafka, `ce-` for HTTP, `cloudEvents:` for AMQP. The content type has a place of its own in
 * each of them.
 */
export function attributeHeaders(message: Message, prefix: string): Record<string, string> {
  const headers: Record<string, string> = { ...message.headers };
  const { attributes } = message;
  for (const name of Object.keys(attributes)) {
    const value = attributes[name];
    if (value !== undefined && name !== 'datacontenttype') headers[headerName(prefix, name)] = value;
  }
  return headers;
}

const headerNames = new Map<string, Map<string, string>>();

/** The same string every time, since a new one is costly as the name of a property. */
function headerName(prefix: string, name: string): string {
  let names = headerNames.get(prefix);
  if (!names) headerNames.set(prefix, (names = new Map<string, string>()));
  const known = names.get(name);
  if (known !== undefined) return known;
  // Names that never come again must not fill the memory.
  if (names.size >= MOST_NAMES) names.clear();
  names.set(name, prefix + name);
  return prefix + name;
}

/** What a transport knows of a message that has arrived. */
export interface Arrival {
  readonly topic: string;
  readonly key?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType?: string;
  readonly body: Uint8Array;
  /** What stands in for the attributes of a message that is no CloudEvent: an id above all. */
  readonly defaults?: Partial<MessageAttributes>;
}

/**
 * Reads a message in binary mode, its headers' names without regard to case.
 * @throws SyntaxError if the content type says JSON and the body is none
 */
export function receivedMessage(arrival: Arrival, prefix: string): ReceivedMessage {
  const { topic, headers, body, contentType, defaults } = arrival;
  const attributes: Record<string, string | undefined> = { ...defaults };
  const others: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (lower.startsWith(prefix.toLowerCase())) attributes[lower.slice(prefix.length)] = value;
    else others[name] = value;
  }
  if (contentType !== undefined) attributes.datacontenttype = contentType;
  const { id = '', source = topic, type = topic } = attributes;
  return {
    ...{ id, source, type, topic },
    key: arrival.key ?? attributes.partitionkey ?? '',
    sequence: attributes.sequence,
    correlationId: attributes.correlationid,
    causationId: attributes.causationid,
    attributes: { ...attributes, specversion: '1.0', id, source, type },
    headers: others,
    payload: payloadOf(body, attributes.datacontenttype),
  };
}

/** A received message as a stored event at a place of another log, for processors that read it. */
export function eventOfMessage(message: ReceivedMessage, position: number): RecordedEvent {
  const { attributes, correlationId, causationId } = message;
  return {
    id: message.id,
    type: message.type,
    version: Number(attributes.dataversion ?? 1),
    stream: attributes.subject ?? message.key,
    revision: Number(attributes.streamrevision ?? position - 1),
    position,
    recordedAt: new Date(attributes.time ?? 0),
    metadata: { correlationId, causationId, source: message.source, traceparent: attributes.traceparent },
    data: message.payload,
  };
}

function payloadOf(body: Uint8Array, contentType = 'application/json'): unknown {
  if (body.byteLength === 0) return undefined;
  if (!/^[^;]*[/+]json\s*(;|$)/i.test(contentType)) return body;
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
}
