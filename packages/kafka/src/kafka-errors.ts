import {
  MessageRejectedError,
  messageOf as textOf,
  TransportUnavailableError,
  type Message,
} from '@refold/core';

/**
 * What an error of a client says: that a record is not accepted, that a topic is not there or not allowed, that another
 * producer has taken over, or (everything else) that Kafka cannot be used at the moment and the outcome is unknown.
 */
export type KafkaProblem = 'record' | 'topic' | 'fenced' | 'unavailable';

const PROBLEMS: Readonly<Record<string, KafkaProblem>> = {
  MESSAGE_TOO_LARGE: 'record',
  MSG_SIZE_TOO_LARGE: 'record',
  RECORD_LIST_TOO_LARGE: 'record',
  INVALID_RECORD: 'record',
  INVALID_TIMESTAMP: 'record',
  UNKNOWN_TOPIC_OR_PARTITION: 'topic',
  UNKNOWN_TOPIC_OR_PART: 'topic',
  UNKNOWN_TOPIC: 'topic',
  INVALID_TOPIC_EXCEPTION: 'topic',
  TOPIC_EXCEPTION: 'topic',
  TOPIC_AUTHORIZATION_FAILED: 'topic',
  INVALID_PRODUCER_EPOCH: 'fenced',
  PRODUCER_FENCED: 'fenced',
  FENCED: 'fenced',
  INVALID_PRODUCER_ID_MAPPING: 'fenced',
};

const ADVICE: Readonly<Record<string, string>> = {
  MESSAGE_TOO_LARGE:
    'it is larger than the topic allows: raise its max.message.bytes, or send less and a reference to the rest',
  MSG_SIZE_TOO_LARGE: 'it is larger than the topic allows: raise its max.message.bytes',
  RECORD_LIST_TOO_LARGE: 'it is larger than a segment of the topic may be: raise its segment.bytes',
  INVALID_RECORD: 'the topic does not take such records: see its configuration',
  UNKNOWN_TOPIC_OR_PARTITION: 'there is no such topic: create it',
  UNKNOWN_TOPIC_OR_PART: 'there is no such topic: create it',
  UNKNOWN_TOPIC: 'there is no such topic: create it',
  INVALID_TOPIC_EXCEPTION: 'this cannot be the name of a topic',
  TOPIC_AUTHORIZATION_FAILED: 'it may not be written: allow this client to write and describe the topic',
};

/** What an error of a client says. */
export function problemOf(error: unknown): KafkaProblem {
  return PROBLEMS[typeOf(error) ?? ''] ?? 'unavailable';
}

/** Kafka's own name of an error, as far as one is known, e.g. MESSAGE_TOO_LARGE. */
export function typeOf(error: unknown): string | undefined {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth++) {
    if ('type' in cause && typeof cause.type === 'string') return cause.type.replace(/^ERR__?/, '');
  }
  return undefined;
}

/** Why Kafka does not take a message, as a delivery wants to be told. */
export function rejection(
  transport: string,
  message: Message,
  index: number,
  cause: unknown,
): MessageRejectedError {
  const reason = ADVICE[typeOf(cause) ?? ''] ?? textOf(cause);
  // A topic can be made, or be allowed, while the delivery tries again.
  const permanent = problemOf(cause) === 'record';
  return new MessageRejectedError(transport, message.attributes.id, message.topic, reason, {
    ...{ permanent, index, cause },
  });
}

/** A message that is larger than a transport is told to send. */
export function tooLarge(
  transport: string,
  message: Message,
  index: number,
  bytes: number,
  maxMessageBytes: number,
): MessageRejectedError {
  const reason =
    `it takes up to ${bytes} bytes, and maxMessageBytes is ${maxMessageBytes}: ` +
    `raise it together with the topic's max.message.bytes, or send less and a reference to the rest`;
  return new MessageRejectedError(transport, message.attributes.id, message.topic, reason, {
    ...{ permanent: true, index },
  });
}

/** That Kafka cannot be used at the moment, and why. */
export function unavailable(transport: string, cause: unknown): TransportUnavailableError {
  if (cause instanceof TransportUnavailableError) return cause;
  return new TransportUnavailableError(transport, textOf(cause), { cause });
}
