import type { Clock } from '../clock.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { DeadLetter, LetterError } from '../store/processor-state.js';
import type { Sequence } from './feed.js';
import { failedEvent, type Processor } from './processor.js';

/** Whose letters they are. */
export interface LetterOwner {
  readonly processor: Pick<Processor, 'name' | 'errors'>;
  readonly generation: number;
  readonly clock: Clock;
}

/** The letter of an event that waits behind an earlier one of its sequence. */
export function behindLetter(
  { processor, generation, clock }: LetterOwner,
  event: RecordedEvent,
  { key = event.stream, slice }: Sequence,
): DeadLetter {
  return {
    processor: processor.name,
    generation,
    position: event.position,
    sequence: key,
    slice,
    event: failedEvent(event),
    attempts: 0,
    retries: 0,
    parkedAt: new Date(clock.now()),
  };
}

/** A letter after a failed attempt, with the time of the next one. */
export function failedLetter(
  { processor: { errors }, clock }: LetterOwner,
  letter: DeadLetter,
  cause: unknown,
  attempts = letter.attempts + 1,
): DeadLetter {
  const now = clock.now();
  const delay = errors.kindOf(cause) === 'permanent' ? undefined : errors.letterDelayMs(letter.retries);
  return {
    ...letter,
    attempts,
    error: letterError(cause),
    lastAttemptAt: new Date(now),
    retryAt: delay === undefined ? undefined : new Date(now + delay),
  };
}

function letterError(cause: unknown): LetterError {
  if (!(cause instanceof Error)) return { message: String(cause) };
  return { message: cause.message, name: cause.name, stack: cause.stack };
}
