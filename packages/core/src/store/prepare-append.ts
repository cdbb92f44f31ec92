import { newEventId } from '../events/event-id.js';
import {
  DuplicateEventError,
  EventTooLargeError,
  InvalidArgumentError,
  SerializationError,
} from '../errors.js';
import type { ExpectedRevision, NewEvent, StreamAppend } from './event-store.js';

/** An event ready to be written: checked, identified, and its JSON made. */
export interface PreparedEvent {
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly data: string;
  /** Absent for an event without metadata. */
  readonly metadata: string | undefined;
}

/** An append whose arguments are known to be good. */
export interface PreparedAppend {
  readonly stream: string;
  readonly expected: ExpectedRevision;
  readonly events: readonly PreparedEvent[];
}

/** The largest event that a store takes unless it is told otherwise: 1 MiB of JSON, data and metadata together. */
export const DEFAULT_MAX_EVENT_BYTES = 1024 * 1024;

/**
 * Checks the arguments of `append` and `appendAll` and makes the events' JSON, so that every adapter refuses the same
 * input with the same error, before it touches its database.
 */
export function prepareAppends(
  appends: readonly StreamAppend[],
  maxEventBytes: number = DEFAULT_MAX_EVENT_BYTES,
): PreparedAppend[] {
  const prepared = appends.map((append) => prepareOne(append, maxEventBytes));
  if (prepared.length > 1) rejectRepeats(prepared.map(({ stream }) => stream));
  rejectRepeatedIds(prepared);
  return prepared;
}

/** Checks a stream name. */
export function checkStream(stream: string): void {
  checkText('stream', stream, MAX_STREAM_LENGTH);
}

/** The category of a stream: what stands before its first dash. */
export function categoryOf(stream: string): string {
  const dash = stream.indexOf('-');
  return dash < 0 ? stream : stream.slice(0, dash);
}

/** The id of a stream: what stands behind its first dash. */
export function idOf(stream: string): string {
  const dash = stream.indexOf('-');
  return dash < 0 ? '' : stream.slice(dash + 1);
}

/** Writes a value as JSON. @throws SerializationError where that is impossible, naming the subject */
export function toJson(value: unknown, subject: string): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new SerializationError(subject, cause);
  }
  if (json === undefined) throw new SerializationError(subject);
  return json;
}

const MAX_STREAM_LENGTH = 512;
const MAX_TYPE_LENGTH = 256;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function prepareOne(append: StreamAppend, maxEventBytes: number): PreparedAppend {
  checkStream(append.stream);
  const expected = append.expected ?? 'any';
  checkExpected(expected);
  if (!Array.isArray(append.events)) {
    throw new InvalidArgumentError('events', append.events, 'must be an array of events');
  }
  const events = append.events.map((event: NewEvent) => prepareEvent(event, maxEventBytes));
  return { stream: append.stream, expected, events };
}

/** Checks an event and makes its JSON. @throws InvalidArgumentError, SerializationError, EventTooLargeError */
export function prepareEvent(event: NewEvent, maxEventBytes: number): PreparedEvent {
  checkText('event type', event.type, MAX_TYPE_LENGTH);
  const version = event.version ?? 1;
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new InvalidArgumentError(
      `version of event "${event.type}"`,
      version,
      'must be a whole number from 1',
    );
  }
  const data = toJson(event.data, `data of event "${event.type}"`);
  const metadata = metadataJson(event);
  // A UTF-16 unit takes at most three bytes in UTF-8: most events need no exact count.
  const units = data.length + (metadata?.length ?? 0);
  if (units * 3 > maxEventBytes) {
    const bytes = Buffer.byteLength(data) + (metadata === undefined ? 0 : Buffer.byteLength(metadata));
    if (bytes > maxEventBytes) throw new EventTooLargeError(event.type, bytes, maxEventBytes);
  }
  return {
    id: event.id === undefined ? newEventId() : canonicalId(event.id),
    type: event.type,
    version,
    data,
    metadata,
  };
}

function metadataJson({ type, metadata }: NewEvent): string | undefined {
  if (metadata === undefined) return undefined;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw new InvalidArgumentError(`metadata of event "${type}"`, metadata, 'must be an object');
  }
  const json = toJson(metadata, `metadata of event "${type}"`);
  return json === '{}' ? undefined : json;
}

function canonicalId(id: string): string {
  if (typeof id !== 'string' || !UUID.test(id))
    throw new InvalidArgumentError('event id', id, 'must be a UUID');
  return id.toLowerCase();
}

/** Checks a name. Databases refuse or garble NUL and lone surrogates, so every store refuses them. */
export function checkText(argument: string, text: string, maxLength: number): void {
  if (typeof text !== 'string' || text.length === 0 || text.length > maxLength) {
    throw new InvalidArgumentError(argument, text, `must be a name of 1 to ${maxLength} characters`);
  }
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(text) || LONE_SURROGATE.test(text)) {
    throw new InvalidArgumentError(
      argument,
      text,
      'must hold no control characters and be well-formed Unicode',
    );
  }
}

const LONE_SURROGATE = /\p{Surrogate}/u;

function checkExpected(expected: ExpectedRevision): void {
  if (expected === 'any' || expected === 'no-stream' || expected === 'stream-exists') return;
  if (!Number.isSafeInteger(expected) || expected < 0) {
    throw new InvalidArgumentError(
      'expected',
      expected,
      "must be a revision from 0, 'no-stream', 'stream-exists' or 'any'",
    );
  }
}

function rejectRepeats(streams: readonly string[]): void {
  const seen = new Set<string>();
  for (const stream of streams) {
    if (seen.has(stream)) {
      throw new InvalidArgumentError(
        'appends',
        stream,
        'must name each stream once: put its events into one append',
      );
    }
    seen.add(stream);
  }
}

function rejectRepeatedIds(appends: readonly PreparedAppend[]): void {
  const count = appends.reduce((sum, { events }) => sum + events.length, 0);
  if (count < 2) return;
  const seen = new Set<string>();
  for (const { stream, events } of appends) {
    for (const { id } of events) {
      if (seen.has(id)) throw new DuplicateEventError(id, stream);
      seen.add(id);
    }
  }
}
