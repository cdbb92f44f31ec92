import { attributeHeaders, MessageRejectedError, type Message, type MessageAttributes } from '@refold/core';
import type { Options } from 'amqplib';

/** The prefix of a message's attributes among its headers. */
export const PREFIX = 'cloudEvents:';
/** Holds the topic where the routing key is another. */
export const TOPIC_HEADER = 'refold-topic';
/** The protocol's bound on what it calls short strings. */
const MAX_SHORT = 255;

/** The routing key of a message: its topic, its topic and key with a dot between them, or what a function says. */
export type RoutingKey = 'topic' | 'topic.key' | ((message: Message) => string);

/** A message as the broker gets it. */
export interface Publication {
  readonly routingKey: string;
  readonly body: Buffer;
  readonly options: Options.Publish;
}

/** What the publications of one transport have in common. */
export interface PublicationOptions {
  readonly subject: string;
  readonly routingKey: RoutingKey;
  readonly mandatory: boolean;
  readonly maxMessageBytes: number;
}

/** Encodes a message; or says why it can never be sent. */
export function publicationOf(
  message: Message,
  index: number,
  { subject, routingKey: rule, mandatory, maxMessageBytes }: PublicationOptions,
): Publication | MessageRejectedError {
  const { topic, attributes, body } = message;
  const routingKey = routingKeyOf(message, rule);
  const rejected = (reason: string): MessageRejectedError =>
    new MessageRejectedError(subject, attributes.id, topic, reason, { permanent: true, index });
  if (body.byteLength > maxMessageBytes) {
    return rejected(`it has ${body.byteLength} bytes, and the broker takes ${maxMessageBytes}`);
  }
  const long = tooLong(routingKey, attributes);
  if (long !== undefined) return rejected(`its ${long} has more than ${MAX_SHORT} bytes`);
  const headers = attributeHeaders(message, PREFIX);
  if (routingKey !== topic) headers[TOPIC_HEADER] = topic;
  for (const name in headers) {
    if (!isShort(name)) return rejected(`the name of its header ${name} has more than ${MAX_SHORT} bytes`);
  }
  const { type, correlationid, time } = attributes;
  return {
    routingKey,
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    options: {
      headers,
      mandatory,
      persistent: true,
      messageId: attributes.id,
      contentType: attributes.datacontenttype,
      timestamp: secondsOf(time),
      // These two are among the headers too, where there is room for more.
      type: isShort(type) ? type : undefined,
      correlationId: isShort(correlationid) ? correlationid : undefined,
    },
  };
}

/** What of a message must be short and is not. */
function tooLong(routingKey: string, { id, datacontenttype }: MessageAttributes): string | undefined {
  if (!isShort(routingKey)) return 'routing key';
  if (!isShort(id)) return 'id';
  return isShort(datacontenttype) ? undefined : 'content type';
}

function routingKeyOf(message: Message, rule: RoutingKey): string {
  if (typeof rule === 'function') return rule(message);
  return rule === 'topic' ? message.topic : `${message.topic}.${message.key}`;
}

function isShort(text: string | undefined): boolean {
  // A UTF-16 unit takes three bytes at most.
  return text === undefined || 3 * text.length <= MAX_SHORT || Buffer.byteLength(text) <= MAX_SHORT;
}

function secondsOf(time: string | undefined): number | undefined {
  const milliseconds = time === undefined ? NaN : Date.parse(time);
  return Number.isNaN(milliseconds) || milliseconds < 0 ? undefined : Math.floor(milliseconds / 1000);
}
