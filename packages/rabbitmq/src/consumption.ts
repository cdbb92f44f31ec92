import { consoleLogger, TransportUnavailableError, type ReceivedMessage } from '@refold/core';
import type { Channel, ConsumeMessage } from 'amqplib';
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { arrivalOf } from './arrivals.js';
import { isRefusal, reasonOf, type BrokerConnection } from './connection.js';
import type { RabbitmqConsumerOptions, RabbitmqMessageHandler } from './consumer.js';
import { KeyLanes } from './key-lanes.js';

const LONGEST_DELAY_MS = 60_000;

interface Delivery {
  readonly raw: ConsumeMessage;
  /** A body that cannot be read is as good as a handler that always fails. */
  readonly message: ReceivedMessage | { readonly unreadable: unknown };
}

/**
 * One connection's time as a consumer of a queue. Whoever runs it closes the connection behind it: what is not acknowledged by
 * then goes back to the queue, and what arrives in between is not looked at.
 */
export class Consumption {
  readonly #name: string;
  readonly #connection: BrokerConnection;
  readonly #options: RabbitmqConsumerOptions;
  readonly #handler: RabbitmqMessageHandler;
  readonly #told: AbortSignal;
  /** Aborts when it has to end, for whatever reason. */
  readonly #over = new AbortController();
  readonly #lanes: KeyLanes<Delivery>;
  #channel: Channel | undefined;
  #isOpen = true;
  #closedBy: unknown;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    name: string,
    connection: BrokerConnection,
    options: RabbitmqConsumerOptions,
    handler: RabbitmqMessageHandler,
    told: AbortSignal,
  ) {
    this.#name = name;
    this.#connection = connection;
    this.#options = options;
    this.#handler = handler;
    this.#told = told;
    this.#lanes = new KeyLanes(options.concurrency ?? 1, (delivery) => this.#work(delivery));
    setMaxListeners(0, this.#over.signal);
  }

  /** Returns why it has ended. @throws what the handler threw, if that ends it, or what the broker refuses */
  async run(): Promise<string> {
    const stop = (): void => this.#over.abort();
    this.#told.addEventListener('abort', stop, { once: true });
    try {
      if (await this.#opened()) await this.#ended();
      this.#lanes.clear();
      await this.#lanes.idle();
    } finally {
      this.#told.removeEventListener('abort', stop);
    }
    if (this.#failure) throw this.#failure.error;
    return reasonOf(this.#closedBy ?? this.#connection.reason);
  }

  /** Asks for messages; returns false if that did not work and may work with another connection. */
  async #opened(): Promise<boolean> {
    const { queue, prefetch = 50 } = this.#options;
    try {
      const channel = await this.#connection.channel();
      this.#channel = channel;
      channel.on('error', (error) => (this.#closedBy ??= error));
      channel.on('close', () => {
        this.#isOpen = false;
        this.#over.abort();
      });
      await channel.prefetch(prefetch);
      await channel.consume(queue, (raw) => this.#arrived(raw));
      return true;
    } catch (cause) {
      if (isRefusal(cause)) throw new TransportUnavailableError(this.#name, reasonOf(cause), { cause });
      this.#closedBy ??= cause;
      return false;
    }
  }

  #ended(): Promise<void> {
    const { signal } = this.#over;
    if (this.#told.aborted || !this.#isOpen) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  #arrived(raw: ConsumeMessage | null): void {
    if (!raw) {
      // The broker ends it: the queue is gone, or has moved to another node.
      this.#closedBy ??= new Error('the broker has ended the consumer');
      this.#over.abort();
    } else if (!this.#over.signal.aborted) {
      const message = readable(raw);
      this.#lanes.add('unreadable' in message ? '' : message.key, { raw, message });
    }
  }

  /** Handles a message until it is done with, or somebody else's. */
  async #work({ raw, message }: Delivery): Promise<void> {
    const { maxAttempts = 5 } = this.#options;
    const { signal } = this.#over;
    const { redelivered } = raw.fields;
    for (let attempt = 1; ; attempt++) {
      try {
        if ('unreadable' in message) throw message.unreadable;
        await this.#handler(message, { attempt, redelivered, signal });
        return this.#answer((channel) => channel.ack(raw));
      } catch (error) {
        if (signal.aborted) return;
        if (attempt >= maxAttempts || 'unreadable' in message) return this.#giveUp(raw, attempt, error);
        await this.#pause(attempt);
        if (signal.aborted) return;
      }
    }
  }

  #giveUp(raw: ConsumeMessage, attempt: number, error: unknown): void {
    const { afterAttempts = 'stop', logger = consoleLogger } = this.#options;
    if (afterAttempts === 'stop') {
      this.#failure ??= { error };
      this.#over.abort();
      return;
    }
    const id = String(raw.properties.messageId ?? 'without an id');
    const fate = afterAttempts === 'requeue' ? 'goes back to the queue' : 'is given up';
    logger.error(`${this.#name}: message ${id} ${fate} after attempt ${attempt}`, error);
    this.#answer((channel) => channel.nack(raw, false, afterAttempts === 'requeue'));
  }

  #answer(say: (channel: Channel) => void): void {
    // Where the channel is gone, the broker has given the message to somebody else already.
    if (this.#isOpen && this.#channel) say(this.#channel);
  }

  async #pause(attempt: number): Promise<void> {
    const { retryDelayMs = 200 } = this.#options;
    const delay = Math.min(retryDelayMs * 2 ** Math.min(attempt - 1, 30), LONGEST_DELAY_MS);
    await sleep(delay, undefined, { signal: this.#over.signal }).catch(() => undefined);
  }
}

function readable(raw: ConsumeMessage): Delivery['message'] {
  try {
    return arrivalOf(raw, randomUUID);
  } catch (unreadable) {
    return { unreadable };
  }
}
