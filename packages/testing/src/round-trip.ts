import { type EventCodec, RefoldError, toJson, type RecordedEvent } from '@refold/core';
import { fail, shown, shownError } from './failure.js';

/**
 * An event as it comes back from a log: encoded, through JSON, and decoded. Fails the test if the event cannot be
 * stored, or does not come back as it was.
 */
export function throughJson(
  codec: EventCodec,
  event: object,
  subject: string,
  { stream, revision }: { readonly stream: string; readonly revision: number },
): { recorded: RecordedEvent; stored: { type: string; data: unknown } } {
  const written = refusedAs(`${subject} cannot be stored`, () => {
    const { id = '', type, version = 1, data } = codec.encode(event);
    return { id, type, version, data: parsed(data, `data of event "${type}"`) };
  });
  const recorded = refusedAs(`${subject} cannot be read back`, () =>
    codec.decode({
      ...written,
      stream,
      revision,
      position: revision + 1,
      recordedAt: new Date(0),
      metadata: {},
    }),
  );
  const isInstance = recorded.data !== null && codec.domainEvent(recorded) === recorded.data;
  const loss = isInstance
    ? lossOf(event, recorded.data, '')
    : lossOf(Reflect.get(event, 'data'), recorded.data, 'data');
  if (loss) {
    fail(
      `${subject} does not survive its JSON round trip: ${loss}. Keep JSON values in events, or say how to make ` +
        "them again: class-transformer's @Type, or the revive option of the event",
    );
  }
  return { recorded, stored: { type: written.type, data: written.data } };
}

/** A value as JSON gives it back. @throws SerializationError where that is impossible */
export function parsed(value: unknown, subject: string): unknown {
  return JSON.parse(toJson(value, subject)) as unknown;
}

/**
 * The first place where a value and its restored copy differ, in words; undefined if there is none. Reads through the
 * getters of classes too, because they show what private fields have lost. A property that is undefined may be missing.
 */
export function lossOf(
  before: unknown,
  after: unknown,
  path: string,
  seen = new Set<unknown>(),
): string | undefined {
  if (before === after || seen.has(before) || (Number.isNaN(before) && Number.isNaN(after))) return undefined;
  if (typeof before === 'function' && typeof after === 'function') return undefined;
  if (typeof before !== 'object' || typeof after !== 'object' || before === null || after === null) {
    return `${path || 'the value'} was ${shown(before)} and came back as ${shown(after)}`;
  }
  if (Object.getPrototypeOf(before) !== Object.getPrototypeOf(after)) {
    return `${path || 'the value'} was ${nameOf(before)} and came back as ${nameOf(after)}`;
  }
  seen.add(before);
  if (before instanceof Date && after instanceof Date) {
    return lossOf(before.getTime(), after.getTime(), `${path}.getTime()`, seen);
  }
  if (isCollection(before) && isCollection(after)) return lossOf([...before], [...after], path, seen);
  for (const name of namesIn(before, after)) {
    const inner = path ? `${path}.${name}` : name;
    const loss = lossOf(readFrom(before, name), readFrom(after, name), inner, seen);
    if (loss) return loss;
  }
  return undefined;
}

/** Runs `work`; what Refold refuses in it fails the test with the reason. */
function refusedAs<Result>(problem: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RefoldError)) throw error;
    return fail(`${problem}: ${error.message}`, error);
  }
}

function isCollection(value: object): value is Map<unknown, unknown> | Set<unknown> {
  return value instanceof Map || value instanceof Set;
}

/** The own properties of both, and the getters of their classes. */
function namesIn(before: object, after: object): Set<string> {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  for (
    let prototype: unknown = Object.getPrototypeOf(before);
    typeof prototype === 'object' && prototype !== null && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    if (prototype === Array.prototype) break;
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (property.get !== undefined) names.add(name);
    }
  }
  return names;
}

/** A getter may throw, as one does that reads a private field which was never made: that is a value too. */
function readFrom(owner: object, name: string): unknown {
  try {
    return Reflect.get(owner, name) as unknown;
  } catch (error) {
    return `throws ${shownError(error)}`;
  }
}

function nameOf(value: object): string {
  const { constructor } = value;
  return typeof constructor === 'function' && constructor.name ? `a ${constructor.name}` : 'a plain object';
}
