import type { SliceRange } from '../store/processor-state.js';
import type { Message } from './message.js';

/** A message that was not accepted. */
export interface SendFailure {
  /** Its place in the batch. */
  readonly index: number;
  /**
   * Why: a TransportUnavailableError for what passes by itself, a MessageRejectedError for what is wrong with this message.
   * Absent: it was not tried, because an earlier message with its key had failed.
   */
  readonly error?: unknown;
}

/** What became of a batch. */
export interface SendResult {
  /** The messages that were not accepted, or of which that is not known, in the order of the batch. All others were. */
  readonly failures: readonly SendFailure[];
}

/** Where transports differ. */
export interface TransportSupports {
  /** `open`: it keeps the position of what it accepted in the transaction that accepts it. */
  readonly exactlyOnce: boolean;
}

/** One partition of one generation of a delivery. */
export interface Subscription extends SliceRange {
  readonly delivery: string;
  readonly generation: number;
}

/**
 * How messages get to a subscriber. All implementations promise:
 *
 * - `send` resolves when every message of the batch is accepted for good (the subscriber has answered, the broker has stored
 *   it), or is reported as a failure. A message that was accepted is never reported, so that it need not be sent again.
 * - Messages with the same key are accepted in the order of the batch, those of batches that are awaited one after the other
 *   included. Behind a failure nothing of its key is accepted in that batch, unless the transport documents when it may be.
 * - `send` may be called again before an earlier call has resolved; nothing is promised of the order between the two.
 * - A connection is made by the first `send`, and made again when it breaks: a broken one fails what was in flight with
 *   TransportUnavailableError, and never the process.
 * - `send` rejects only if nothing at all can be said of the batch; all of it counts as a failure then.
 * - When the signal aborts, nothing more is begun. What is in flight is awaited for a moment; what is not accepted by then
 *   is a failure with TransportUnavailableError.
 */
export interface Transport {
  /** Names it in errors and in the status, without secrets: `rabbitmq orders`, `webhook https://example.com/in`. */
  readonly name: string;
  readonly supports: TransportSupports;
  send(batch: readonly Message[], signal: AbortSignal): Promise<SendResult>;
  /**
   * Begins to send one partition exactly once, where `supports.exactlyOnce`: whoever sent it before is shut out from now on.
   * @throws TransportUnavailableError
   */
  open?(subscription: Subscription, signal: AbortSignal): Promise<ExactlyOnceSender>;
  /** Ends connections; later calls fail. Can be called more than once. */
  close(): Promise<void>;
}

/** An event's place, as a sender remembers what it has sent. */
export interface SentPlace {
  readonly slice: number;
  readonly position: number;
}

/** Sends one partition so that no message is accepted twice, whatever crashes: it keeps the position with the messages. */
export interface ExactlyOnceSender {
  /** Whether the messages of an event were accepted already, by this sender or one before it. */
  has(place: SentPlace): boolean;
  /**
   * All messages are accepted together with the position up to which the partition is done, or none is.
   * @throws MessageRejectedError with the `index` of the message that cannot be accepted
   * @throws TransportUnavailableError also when another sender has been opened for the partition: open anew
   */
  send(batch: readonly Message[], through: number, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
