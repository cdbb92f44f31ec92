import { MessageRejectedError, TransportUnavailableError, type Message } from '@refold/core';
import { IllegalOperationError, type ConfirmChannel, type Message as Delivered } from 'amqplib';
import { reasonOf, replyCodeOf, type BrokerConnection } from './connection.js';
import type { Publication } from './publishing.js';

/** What a channel with confirmations needs to know. */
export interface ConfirmsOptions {
  readonly subject: string;
  readonly exchange: string;
  readonly confirmTimeoutMs: number;
  readonly maxInFlight: number;
}

/** How long those who are told to stop wait for what is in flight. */
const STOP_MS = 2_000;

/** A message on its way to the broker. */
export class Sending {
  readonly message: Message;
  readonly index: number;
  #onDone: (() => void) | undefined;
  #isDone = false;
  #error: Error | undefined;

  constructor(message: Message, index: number, error?: Error) {
    this.message = message;
    this.index = index;
    if (error) this.settle(error);
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Why it was not accepted, or why nobody knows; undefined once it is done: it was. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Calls back once, when it is done. */
  onDone(callback: () => void): void {
    this.#onDone = callback;
  }

  /** Only the first time counts: what comes later is no news for whoever waited. */
  settle(error?: Error): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#error = error;
    this.#onDone?.();
  }
}

/** Resolves when all are done. */
function allDone(sendings: readonly Sending[]): Promise<void> {
  return new Promise((resolve) => {
    let left = sendings.length;
    const done = (): void => {
      left -= 1;
      if (left === 0) resolve();
    };
    for (const sending of sendings) sending.onDone(done);
  });
}

/** One channel on which the broker confirms messages: publishes, and keeps account of what is in flight. */
export class ConfirmingChannel {
  readonly #connection: BrokerConnection;
  readonly #channel: ConfirmChannel;
  readonly #options: ConfirmsOptions;
  /** What the broker has not answered yet, by message id, in the order of publishing. */
  readonly #inFlight = new Map<string, Sending[]>();
  readonly #waiting = new Set<() => void>();
  #count = 0;
  #isFull = false;
  #closedBy: unknown;
  #isOpen = true;

  constructor(connection: BrokerConnection, channel: ConfirmChannel, options: ConfirmsOptions) {
    this.#connection = connection;
    this.#channel = channel;
    this.#options = options;
    // The error comes before the confirmations that are lost with the channel.
    channel.on('error', (error) => (this.#closedBy ??= error));
    channel.on('close', () => {
      this.#isOpen = false;
      this.#wake();
    });
    channel.on('return', (message) => this.#returned(message));
    channel.on('drain', () => {
      this.#isFull = false;
      this.#wake();
    });
    connection.onUnblocked(() => this.#wake());
  }

  get isOpen(): boolean {
    return this.#isOpen && this.#connection.isOpen;
  }

  /** Why the broker has closed the channel, if it has. */
  get closedBy(): unknown {
    return this.#closedBy;
  }

  /** Whether a message can be published at once. */
  get isReady(): boolean {
    const blocked = this.#connection.blocked !== undefined;
    return this.isOpen && !blocked && !this.#isFull && this.#count < this.#options.maxInFlight;
  }

  /** Waits until a message can be published; returns why not, if it cannot. */
  async ready(signal: AbortSignal): Promise<TransportUnavailableError | undefined> {
    const { confirmTimeoutMs } = this.#options;
    const until = performance.now() + confirmTimeoutMs;
    while (!this.isReady) {
      if (signal.aborted) return this.#unavailable('told to stop');
      if (!this.isOpen) return this.#lost();
      const left = until - performance.now();
      if (left <= 0) return this.#silent();
      await this.#change(left, signal);
    }
    return signal.aborted ? this.#unavailable('told to stop') : undefined;
  }

  /** Publishes without waiting; to be called when it is ready. */
  publish(message: Message, index: number, { routingKey, body, options }: Publication): Sending {
    const sending = new Sending(message, index);
    const { exchange, subject } = this.#options;
    const { id } = message.attributes;
    try {
      const flows = this.#channel.publish(exchange, routingKey, body, options, (error: unknown) =>
        this.#confirmed(id, sending, error),
      );
      if (!flows) this.#isFull = true;
    } catch (cause) {
      const rejected = (): Error =>
        new MessageRejectedError(subject, id, message.topic, reasonOf(cause), {
          permanent: true,
          index,
          cause,
        });
      sending.settle(cause instanceof IllegalOperationError ? this.#lost() : rejected());
      return sending;
    }
    this.#count += 1;
    const same = this.#inFlight.get(id);
    if (same) same.push(sending);
    else this.#inFlight.set(id, [sending]);
    return sending;
  }

  /** Waits until all are done. What takes too long is given up, and so is the connection, unless the broker blocks it. */
  async settled(sendings: readonly Sending[], signal: AbortSignal): Promise<void> {
    const open = sendings.filter(({ isDone }) => !isDone);
    if (open.length === 0) return;
    const done = allDone(open);
    const giveUp = (error: Error): void => open.forEach((one) => one.settle(error));
    const timer = setTimeout(() => this.#tooLate(giveUp), this.#options.confirmTimeoutMs);
    let stopping: NodeJS.Timeout | undefined;
    const stop = (): void => {
      const error = this.#unavailable('told to stop before the broker had confirmed it');
      stopping ??= setTimeout(() => giveUp(error), STOP_MS);
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    await done;
    signal.removeEventListener('abort', stop);
    clearTimeout(stopping);
    clearTimeout(timer);
  }

  #tooLate(giveUp: (error: Error) => void): void {
    giveUp(this.#silent());
    // What a broker that blocks has not read yet would come twice by every new connection: this one is kept for its end.
    if (this.#connection.blocked === undefined) this.#connection.cut('the broker does not answer');
  }

  #confirmed(id: string, sending: Sending, error: unknown): void {
    this.#count -= 1;
    const same = this.#inFlight.get(id);
    if (same && same.length > 1) same.splice(same.indexOf(sending), 1);
    else this.#inFlight.delete(id);
    this.#wake();
    if (error === null || error === undefined) sending.settle();
    else if (
      this.isOpen &&
      this.#closedBy === undefined &&
      error instanceof Error &&
      /nack/.test(error.message)
    ) {
      sending.settle(
        this.#rejected(sending, 'the broker refused it (nack): a queue that it goes to is full'),
      );
    } else sending.settle(this.#lost());
  }

  /** A returned message is confirmed afterwards, as if it had been accepted. */
  #returned({ properties: { messageId }, fields }: Delivered): void {
    const sending = this.#inFlight.get(String(messageId))?.find(({ isDone }) => !isDone);
    const { exchange } = this.#options;
    const where = exchange === '' ? 'there is no queue' : `no queue of exchange "${exchange}" takes it`;
    sending?.settle(this.#rejected(sending, `${where} (routing key "${fields.routingKey}")`));
  }

  #rejected({ message, index }: Sending, reason: string): MessageRejectedError {
    const { attributes, topic } = message;
    return new MessageRejectedError(this.#options.subject, attributes.id, topic, reason, { index });
  }

  #lost(): TransportUnavailableError {
    const cause = this.#closedBy ?? this.#connection.reason;
    const hint = replyCodeOf(this.#closedBy) === 404 ? '; declare it, or give the transport a topology' : '';
    return this.#unavailable(`${reasonOf(cause)}${hint}`, cause);
  }

  #silent(): TransportUnavailableError {
    const { blocked } = this.#connection;
    if (blocked !== undefined) return this.#unavailable(`the broker takes no messages: ${blocked}`);
    return this.#unavailable(`the broker has confirmed nothing for ${this.#options.confirmTimeoutMs} ms`);
  }

  #unavailable(reason: string, cause?: unknown): TransportUnavailableError {
    return new TransportUnavailableError(this.#options.subject, reason, { cause });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #change(withinMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, withinMs);
      signal.addEventListener('abort', wake, { once: true });
      this.#waiting.add(wake);
    });
  }
}
