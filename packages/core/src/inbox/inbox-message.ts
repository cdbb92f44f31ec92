import type { MessageAttributes } from '../deliveries/message.js';
import { InvalidArgumentError } from '../errors.js';
import { checkText } from '../store/prepare-append.js';
import type { EventMetadata } from '../store/event-store.js';

/** What an inbox looks at in a message. Everything else in it is the caller's. */
export interface InboxMessage {
  /** At most 256 characters. Needed by an inbox that goes by ids. */
  readonly id?: string;
  /** Who sent it, at most 256 characters: ids and sequences are compared within one source. Default: one source for all. */
  readonly source?: string;
  /** Within which the source's messages are in order, e.g. its partition; at most 256 characters. Default: one key for all. */
  readonly key?: string;
  /**
   * Grows from message to message of a source and key, gaps or not. Needed by an inbox that goes by sequences. Whole numbers
   * from 0 are compared as such; text by its code points, at most 256 of them.
   */
  readonly sequence?: number | bigint | string;
  /** What `work` appends gets it. Default: the message's id. */
  readonly correlationId?: string;
}

/** A message as an inbox takes it, from its CloudEvents attributes, which Refold's own deliveries send. */
export function inboxMessage(attributes: Partial<MessageAttributes>): InboxMessage {
  const { id, source, sequence } = attributes;
  return { id, source, key: attributes.partitionkey, sequence, correlationId: attributes.correlationid };
}

/** @internal The metadata of whatever a message leads to. */
export function causedByMessage({ id, correlationId = id }: InboxMessage): EventMetadata {
  return {
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(id === undefined ? {} : { causationId: id }),
  };
}

/** @internal @throws InvalidArgumentError */
export function checkedId({ id, source }: InboxMessage): { id: string; source: string } {
  if (id === undefined) throw lacking('id', 'must be there in every message of an inbox that goes by ids');
  return { id: checked('id of the message', id), source: optional('source of the message', source) };
}

/** @internal @throws InvalidArgumentError */
export function checkedPlace({ source, key, sequence }: InboxMessage): {
  source: string;
  key: string;
  sequence: string;
} {
  return {
    source: optional('source of the message', source),
    key: optional('key of the message', key),
    sequence: sequenceText(sequence),
  };
}

const MAX_LENGTH = 256;

/** Digits of the largest safe integer: numbers of the same length grow as text. Refold's deliveries write theirs alike. */
const DIGITS = 16;

function sequenceText(sequence: InboxMessage['sequence']): string {
  const subject = 'sequence of the message';
  if (sequence === undefined) {
    throw lacking('sequence', 'must be there in every message of an inbox that goes by sequences');
  }
  if (typeof sequence === 'string') {
    // As text 10 comes before 9: the message would be taken for a repeat, and be lost.
    if (/^\d+$/.test(sequence) && sequence.length < DIGITS) {
      throw new InvalidArgumentError(
        subject,
        sequence,
        `must grow as text, which digits do not: give it as Number(sequence), or with ${DIGITS} digits`,
      );
    }
    return checked(subject, sequence);
  }
  const number = Number(sequence);
  if (!Number.isSafeInteger(number) || number < 0) {
    throw new InvalidArgumentError(subject, sequence, 'must be a whole number from 0 to 2^53 - 1, or text');
  }
  return String(number).padStart(DIGITS, '0');
}

function optional(subject: string, text: string | undefined): string {
  return text === undefined || text === '' ? '' : checked(subject, text);
}

function checked(subject: string, text: string): string {
  checkText(subject, text, MAX_LENGTH);
  return text;
}

function lacking(field: string, requirement: string): InvalidArgumentError {
  return new InvalidArgumentError(`${field} of the message`, undefined, requirement);
}
