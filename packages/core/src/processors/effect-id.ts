import { v5 as uuidv5 } from 'uuid';

/** Any fixed UUID will do, as long as it never changes. */
const NAMESPACE = '6f0b0a0e-5d2c-5b7e-9d0a-3c1f5e8b7a64';

/** @internal Which of a processor's effects on the log an event is. */
export interface Effect {
  readonly processor: string;
  /** The id of the event that it answers. */
  readonly cause: string;
  readonly stream: string;
  /** Its place among the answers to that event in that stream, or the name of the timer that it is. */
  readonly place: number | string;
}

/**
 * @internal The id of an event that answers another: always the same for the same answer, so that no log takes it twice.
 * Source: RFC 9562, UUID version 5.
 */
export function effectId({ processor, cause, stream, place }: Effect): string {
  // Neither names nor streams hold control characters: no two effects come to the same text.
  const kind = typeof place === 'number' ? 'event' : 'timer';
  return uuidv5([cause, processor, stream, kind, place].join('\n'), NAMESPACE);
}
