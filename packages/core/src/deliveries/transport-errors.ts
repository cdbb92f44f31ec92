import { RefoldError } from '../errors.js';

/**
 * A transport cannot send at the moment: its broker or endpoint is out of reach, busy, or not answering. Deliveries try again
 * for as long as it takes, and count no attempt.
 */
export class TransportUnavailableError extends RefoldError {
  readonly code = 'TRANSPORT_UNAVAILABLE';
  /** How long the other side asks to wait before the next attempt, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    readonly transport: string,
    reason: string,
    { retryAfterMs, cause }: { readonly retryAfterMs?: number; readonly cause?: unknown } = {},
  ) {
    super(`${transport} is not available: ${reason}`, { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * A transport, or whoever is behind it, does not accept a message. Deliveries try it again as their `retry` says, unless it is
 * `permanent`; then it becomes a dead letter.
 */
export class MessageRejectedError extends RefoldError {
  readonly code = 'MESSAGE_REJECTED';
  /** Whether the very same message would be rejected each time: it is too large, or not well formed. */
  readonly permanent: boolean;
  /** Its place in the batch, where it was sent as part of one. */
  readonly index: number | undefined;
  /** How long the other side asks to wait before the next attempt, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    readonly transport: string,
    readonly messageId: string,
    readonly topic: string,
    reason: string,
    {
      permanent = false,
      index,
      retryAfterMs,
      cause,
    }: {
      readonly permanent?: boolean;
      readonly index?: number;
      readonly retryAfterMs?: number;
      readonly cause?: unknown;
    } = {},
  ) {
    super(`${transport} did not accept message ${messageId} for "${topic}": ${reason}`, { cause });
    this.permanent = permanent;
    this.index = index;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Whoever is behind a transport has said that it wants no more messages, ever. The delivery stops at the message and says so;
 * nothing is lost, and it goes on from there when it is resumed.
 */
export class SubscriberGoneError extends RefoldError {
  readonly code = 'SUBSCRIBER_GONE';

  constructor(
    readonly transport: string,
    readonly messageId: string,
    reason: string,
  ) {
    super(
      `${transport} wants no more messages, which message ${messageId} was told: ${reason}. ` +
        'Remove the delivery, or resume it when there is somebody again',
    );
  }
}
