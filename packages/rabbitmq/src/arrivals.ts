import { receivedMessage, type MessageAttributes, type ReceivedMessage } from '@refold/core';
import type { Message } from 'amqplib';
import { PREFIX, TOPIC_HEADER } from './publishing.js';

/** The other way in which the binding for AMQP writes the prefix. */
const OTHER_PREFIX = 'cloudEvents_';

/**
 * A message of the broker as a subscriber sees it. One that is no CloudEvent gets its attributes from the properties, and
 * `id` if it has none there.
 * @throws SyntaxError if its body is not the JSON that it claims to be
 */
export function arrivalOf(message: Message, id: () => string): ReceivedMessage {
  const { properties, fields, content } = message;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(properties.headers ?? {})) {
    const own = name.startsWith(OTHER_PREFIX) ? PREFIX + name.slice(OTHER_PREFIX.length) : name;
    headers[own] = textOf(value);
  }
  const { [TOPIC_HEADER]: topic = fields.routingKey, ...others } = headers;
  const contentType = optional(properties.contentType);
  const isJson = contentType === undefined && content.byteLength > 0 && !(`${PREFIX}id` in headers);
  return receivedMessage(
    {
      topic,
      headers: others,
      // Bytes that nobody has called JSON are taken as they are.
      contentType: isJson ? 'application/octet-stream' : contentType,
      body: content,
      defaults: defaultsOf(message, id),
    },
    PREFIX,
  );
}

function defaultsOf({ properties }: Message, id: () => string): Partial<MessageAttributes> {
  const seconds: unknown = properties.timestamp;
  return {
    id: optional(properties.messageId) ?? id(),
    type: optional(properties.type),
    correlationid: optional(properties.correlationId),
    time: typeof seconds === 'number' ? new Date(seconds * 1000).toISOString() : undefined,
  };
}

function optional(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** Headers of the protocol have types; those of messages are text. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : JSON.stringify(value);
}
