import { attributeHeaders, receivedMessage, type Message, type ReceivedMessage } from '@refold/core';
import type { KafkaReceived, KafkaRecord } from './client.js';

/** CloudEvents' binary mode for Kafka. Source: https://github.com/cloudevents/spec, Kafka Protocol Binding. */
const PREFIX = 'ce_';
const CONTENT_TYPE = 'content-type';

/** What a record takes beside its key, value and headers, and a header beside its name and value, at most. */
const RECORD_BYTES = 40;
const HEADER_BYTES = 10;

/** What a batch of records takes beside them. */
export const BATCH_BYTES = 80;

/** A message as a record for a partition. One that has no payload at all has no value: where topics are compacted, that deletes. */
export function recordOf(message: Message, partition: number): KafkaRecord {
  const { key, body } = message;
  const { datacontenttype } = message.attributes;
  const headers = attributeHeaders(message, PREFIX);
  if (datacontenttype !== undefined) headers[CONTENT_TYPE] = datacontenttype;
  const absent = body.byteLength === 0 && datacontenttype === undefined;
  const value = absent ? null : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return { key, value, headers, partition };
}

/** How many bytes a record takes at most, uncompressed. */
export function sizeOf({ key, value, headers }: KafkaRecord): number {
  let size = RECORD_BYTES + Buffer.byteLength(key ?? '') + (value?.byteLength ?? 0);
  for (const [name, text] of Object.entries(headers)) {
    size += HEADER_BYTES + Buffer.byteLength(name) + Buffer.byteLength(text);
  }
  return size;
}

/**
 * A record as a message; one that is no CloudEvent has its place as its id and its topic as source and type.
 * @throws SyntaxError if it says that it is JSON and is not
 */
export function messageOf(topic: string, partition: number, record: KafkaReceived): ReceivedMessage {
  const headers: Record<string, string> = {};
  let contentType: string | undefined;
  for (const [name, value] of Object.entries(record.headers ?? {})) {
    const last = Array.isArray(value) ? value.at(-1) : value;
    if (last === undefined) continue;
    if (name.toLowerCase() === CONTENT_TYPE) contentType = last.toString();
    else headers[name] = last.toString();
  }
  const id = `${topic}/${partition}/${record.offset}`;
  const time = new Date(Number(record.timestamp)).toISOString();
  return receivedMessage(
    {
      ...{ topic, headers, contentType, body: record.value ?? new Uint8Array(0) },
      key: record.key?.toString() ?? '',
      defaults: { id, source: topic, type: topic, time },
    },
    PREFIX,
  );
}
