import {
  attributeHeaders,
  MessageRejectedError,
  receivedMessage,
  TransportUnavailableError,
  type Message,
  type ReceivedMessage,
  type SendFailure,
  type SendResult,
  type Transport,
  type TransportSupports,
} from '@refold/core';

/** What can be said of a recording transport. */
export interface RecordingTransportOptions {
  /** Names it in errors. Default `recording`. */
  readonly name?: string;
}

/**
 * A transport that keeps what it is sent, for tests of deliveries: it accepts all messages in order, except those that a test
 * tells it to reject. It cannot send exactly once.
 */
export class RecordingTransport implements Transport {
  readonly name: string;
  readonly supports: TransportSupports = { exactlyOnce: false };
  readonly #accepted: Message[] = [];
  readonly #rejections: Rejection[] = [];
  #away = false;
  #closed = false;

  constructor({ name = 'recording' }: RecordingTransportOptions = {}) {
    this.name = name;
  }

  /** The messages that were accepted, in their order, as they were sent. */
  get messages(): readonly Message[] {
    return this.#accepted;
  }

  /** The messages that were accepted, or those of one topic, as a subscriber would get them. */
  received(topic?: string): ReceivedMessage[] {
    const chosen = topic === undefined ? this.#accepted : this.#accepted.filter((one) => one.topic === topic);
    return chosen.map(receivedFrom);
  }

  /** Rejects the messages for which this is true from now on, the first `times` of them (default: all). */
  reject(
    matches: (message: Message) => boolean,
    { permanent = false, times = Infinity }: { readonly permanent?: boolean; readonly times?: number } = {},
  ): void {
    this.#rejections.push({ matches, permanent, left: times });
  }

  /** Is out of reach until it comes back. */
  goAway(): void {
    this.#away = true;
  }

  /** Is back, and rejects nothing any more. */
  comeBack(): void {
    this.#away = false;
    this.#rejections.length = 0;
  }

  async send(batch: readonly Message[], signal: AbortSignal): Promise<SendResult> {
    if (this.#closed) throw new TransportUnavailableError(this.name, 'it is closed');
    const failures: SendFailure[] = [];
    const held = new Set<string>();
    for (const [index, message] of batch.entries()) {
      const error = this.#errorOf(message, index, signal);
      if (held.has(message.key)) failures.push({ index });
      else if (error) failures.push({ index, error });
      else this.#accepted.push(message);
      if (error) held.add(message.key);
    }
    return { failures };
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #errorOf(message: Message, index: number, signal: AbortSignal): Error | undefined {
    if (signal.aborted) return new TransportUnavailableError(this.name, 'told to stop');
    if (this.#away) return new TransportUnavailableError(this.name, 'a test has taken it away');
    const rejection = this.#rejections.find(({ left, matches }) => left > 0 && matches(message));
    if (!rejection) return undefined;
    rejection.left -= 1;
    const { permanent } = rejection;
    const { id } = message.attributes;
    return new MessageRejectedError(this.name, id, message.topic, 'a test rejects it', { permanent, index });
  }
}

interface Rejection {
  readonly matches: (message: Message) => boolean;
  readonly permanent: boolean;
  left: number;
}

/** A transport that keeps what it is sent; for tests: `delivery('orders_out', { transport: recordingTransport() })`. */
export function recordingTransport(options?: RecordingTransportOptions): RecordingTransport {
  return new RecordingTransport(options);
}

function receivedFrom(message: Message): ReceivedMessage {
  const { topic, key, body, attributes } = message;
  const headers = attributeHeaders(message, 'ce-');
  return receivedMessage({ topic, key, headers, contentType: attributes.datacontenttype, body }, 'ce-');
}
