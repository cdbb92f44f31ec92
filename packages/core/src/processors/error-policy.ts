import {
  MessageRejectedError,
  SubscriberGoneError,
  TransportUnavailableError,
} from '../deliveries/transport-errors.js';
import { DefinitionError, DecodeError, UnknownEventTypeError, UnknownEventVersionError } from '../errors.js';
import { isTransient } from './transient.js';

/**
 * What happens to an event whose handler goes on failing:
 * - `park`: it becomes a dead letter, later events of its sequence wait behind it, all others flow on
 * - `stop`: the processor stops at it
 * - `skip`: it is logged and left out
 */
export type OnError = 'park' | 'stop' | 'skip';

/**
 * What kind of error one is: `transient` ones pass by themselves and are retried for as long as it takes; `permanent` ones
 * are not retried; at one to `stop` the processor stops, whatever `onError` says; the others are retried as often as `retry`
 * says.
 */
export type ErrorKind = 'transient' | 'permanent' | 'stop' | 'retry';

/** How a failing handler is tried again before `onError` applies. */
export interface RetryOptions {
  /** Attempts in all, 1 for no retry. */
  readonly maxAttempts?: number;
  /** The wait before the second attempt; it doubles with every further one. Default 100. */
  readonly firstDelayMs?: number;
  /** The longest wait. Default 30,000. Every wait is shortened at random, to half at most. */
  readonly maxDelayMs?: number;
}

/** How dead letters are tried again, and how many there may be. */
export interface DeadLetterOptions {
  /** Letters that hold something back, at most: one more stops the processor, nothing is dropped. Default 10,000. */
  readonly capacity?: number;
  /**
   * When a letter is tried again by itself: the wait after each failed attempt, in milliseconds. When the list is used up
   * it waits for a command. Default: a minute, 5 minutes, half an hour, 2 hours, 12 hours. An empty list: on command only.
   */
  readonly retryAfterMs?: readonly number[];
}

/** What a processor does about errors. */
export interface ErrorOptions {
  readonly onError?: OnError;
  readonly retry?: RetryOptions;
  /** Tells what kind an error is; undefined leaves it to the default, which knows the store's own. */
  readonly classify?: (error: unknown) => ErrorKind | undefined;
  readonly deadLetters?: DeadLetterOptions;
}

/** What a processor does about errors, with every default in place. */
export interface ErrorPolicy {
  readonly onError: OnError;
  readonly maxAttempts: number;
  readonly capacity: number;
  readonly kindOf: (error: unknown) => ErrorKind;
  /** How long to wait before attempt `attempt + 1`, in milliseconds. */
  readonly delayMs: (attempt: number) => number;
  /** When a letter that was tried again `retries` times is tried once more; undefined: on command. */
  readonly letterDelayMs: (retries: number) => number | undefined;
}

const LETTER_DELAYS_MS = [60_000, 300_000, 1_800_000, 7_200_000, 43_200_000];

/** @internal @throws DefinitionError for anything out of range */
export function errorPolicy(
  subject: string,
  { onError, retry = {}, classify, deadLetters = {} }: ErrorOptions,
  defaults: { readonly onError: OnError; readonly maxAttempts: number },
): ErrorPolicy {
  const { maxAttempts = defaults.maxAttempts, firstDelayMs = 100, maxDelayMs = 30_000 } = retry;
  const { capacity = 10_000, retryAfterMs = LETTER_DELAYS_MS } = deadLetters;
  const chosen = onError ?? defaults.onError;
  if (!['park', 'stop', 'skip'].includes(chosen)) {
    throw new DefinitionError(subject, `its onError must be 'park', 'stop' or 'skip', got ${String(chosen)}`);
  }
  checkWhole(subject, 'retry.maxAttempts', maxAttempts, 1);
  checkWhole(subject, 'deadLetters.capacity', capacity, 0);
  for (const [name, value] of [
    ['retry.firstDelayMs', firstDelayMs],
    ['retry.maxDelayMs', maxDelayMs],
    ...retryAfterMs.map((ms) => ['deadLetters.retryAfterMs', ms] as const),
  ] as const) {
    if (!(value >= 0))
      throw new DefinitionError(subject, `its ${name} must be 0 or more, got ${String(value)}`);
  }
  return {
    onError: chosen,
    maxAttempts,
    capacity,
    kindOf: (error) => classify?.(error) ?? kindOf(error),
    delayMs: (attempt) =>
      Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(attempt - 1, 40)) * (0.5 + Math.random() / 2),
    letterDelayMs: (retries) => retryAfterMs[retries],
  };
}

/** What is out of reach comes back; what cannot be read, or is not accepted in any case, will not be readable by trying again. */
function kindOf(error: unknown): ErrorKind {
  if (isTransient(error) || error instanceof TransportUnavailableError) return 'transient';
  if (error instanceof SubscriberGoneError) return 'stop';
  if (error instanceof MessageRejectedError) return error.permanent ? 'permanent' : 'retry';
  const unreadable =
    error instanceof DecodeError ||
    error instanceof UnknownEventTypeError ||
    error instanceof UnknownEventVersionError;
  return unreadable ? 'permanent' : 'retry';
}

function checkWhole(subject: string, name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new DefinitionError(
    subject,
    `its ${name} must be a whole number from ${least}, got ${String(value)}`,
  );
}
