import { v5 as uuidv5 } from 'uuid';
import { plainData } from '../events/class-transformer.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { Message, MessageAttributes, OutgoingMessage } from './message.js';

/** Any fixed UUID will do, as long as it never changes. */
const NAMESPACE = '0a4f6a52-9f0e-5c3b-8b1d-5f5f2f0f7a31';

/** Digits of a position, so that sequences grow as text: those of the largest safe integer. */
const DIGITS = 16;

/** What all messages of one delivery have in common. */
export interface MessageDefaults {
  readonly source: string;
  readonly topic: (event: RecordedEvent) => string;
  readonly key: (event: RecordedEvent) => string;
}

/** The messages of one event, complete; `place` tells them apart where there are several. */
export function messagesOf(
  event: RecordedEvent,
  outgoing: readonly OutgoingMessage[],
  replaying: boolean,
  defaults: MessageDefaults,
): Message[] {
  return outgoing.map((one, place) => messageOf(event, one, place, replaying, defaults));
}

function messageOf(
  event: RecordedEvent,
  outgoing: OutgoingMessage,
  place: number,
  replaying: boolean,
  { source, topic, key: defaultKey }: MessageDefaults,
): Message {
  const key = outgoing.key ?? defaultKey(event);
  const { body, contentType } = encoded(outgoing);
  const { correlationId, causationId, traceparent, tracestate } = event.metadata;
  const attributes: MessageAttributes = {
    type: outgoing.type ?? event.type,
    subject: event.stream,
    time: event.recordedAt.toISOString(),
    datacontenttype: contentType,
    partitionkey: key,
    correlationid: correlationId,
    causationid: causationId,
    traceparent: textOf(traceparent),
    tracestate: textOf(tracestate),
    dataversion: event.version === 1 ? undefined : String(event.version),
    streamrevision: String(event.revision),
    replayed: replaying ? 'true' : undefined,
    ...outgoing.attributes,
    specversion: '1.0',
    id: place === 0 ? event.id : uuidv5(`${event.id}\n${place}`, NAMESPACE),
    source,
    sequence: sequenceAt(event.position, place),
  };
  return { topic: outgoing.topic ?? topic(event), key, headers: outgoing.headers ?? {}, attributes, body };
}

/** The same for every attempt, and growing as text from message to message. */
function sequenceAt(position: number, place: number): string {
  const digits = String(position).padStart(DIGITS, '0');
  return place === 0 ? digits : `${digits}.${String(place).padStart(4, '0')}`;
}

function encoded({ payload, contentType }: OutgoingMessage): { body: Uint8Array; contentType?: string } {
  if (payload === undefined) return { body: new Uint8Array(0), contentType };
  if (payload instanceof Uint8Array) {
    return { body: payload, contentType: contentType ?? 'application/octet-stream' };
  }
  return {
    body: Buffer.from(JSON.stringify(plainData(payload))),
    contentType: contentType ?? 'application/json',
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
