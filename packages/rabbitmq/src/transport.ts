import { checkNumbers, checkUrl } from './check-options.js';
import {
  InvalidArgumentError,
  TransportUnavailableError,
  type Message,
  type SendFailure,
  type SendResult,
  type Transport,
  type TransportSupports,
} from '@refold/core';
import { setMaxListeners } from 'node:events';
import { ConfirmingChannel, Sending } from './confirms.js';
import {
  Connector,
  reasonOf,
  replyCodeOf,
  type BrokerConnection,
  type RabbitmqConnectionOptions,
} from './connection.js';
import { publicationOf, type RoutingKey } from './publishing.js';

/** What can be said of a transport to RabbitMQ. */
export interface RabbitmqTransportOptions extends RabbitmqConnectionOptions {
  /** Where messages are published. Default: the one without a name, where the routing key is the name of a queue. */
  readonly exchange?: string;
  /** Default `topic`. */
  readonly routingKey?: RoutingKey;
  /**
   * What is promised within a batch. `strict`: nothing of a key is published before the message in front of it is confirmed,
   * which takes a round trip for each. `pipelined`, the default: when the broker refuses a message, by then it may have accepted
   * later ones of its key; a connection that breaks never does that.
   */
  readonly order?: 'pipelined' | 'strict';
  /** Whether a message that no queue takes is a failure. Default true: otherwise the broker drops it without a word. */
  readonly mandatory?: boolean;
  /** How long the broker may take to confirm a message, or to take messages again. Default 30,000. */
  readonly confirmTimeoutMs?: number;
  /** How many messages may wait for confirmation at once. Default 1,000. */
  readonly maxInFlight?: number;
  /** The largest body; larger ones are rejected for good. Default 16 MiB, which is RabbitMQ 4's own. */
  readonly maxMessageBytes?: number;
}

/**
 * A transport that publishes to an exchange of RabbitMQ: persistent messages, which are accepted when the broker has confirmed
 * that the queues they go to have stored them. Behind a failure later messages of its key may be accepted: see `order`.
 * @throws InvalidArgumentError for a bad option
 */
export function rabbitmqTransport(options: RabbitmqTransportOptions): Transport {
  checkOptions(options);
  return new RabbitmqTransport(options);
}

const DEFAULTS = {
  exchange: '',
  routingKey: 'topic',
  order: 'pipelined',
  mandatory: true,
  confirmTimeoutMs: 30_000,
  maxInFlight: 1_000,
  maxMessageBytes: 16 * 1024 * 1024,
} as const;

class RabbitmqTransport implements Transport {
  readonly name: string;
  readonly supports: TransportSupports = { exactlyOnce: false };
  readonly #options: RabbitmqTransportOptions &
    Required<Pick<RabbitmqTransportOptions, keyof typeof DEFAULTS>>;
  readonly #connector: Connector;
  readonly #ending = new AbortController();
  #connection: BrokerConnection | undefined;
  #channel: ConfirmingChannel | undefined;
  #opening: Promise<ConfirmingChannel> | undefined;
  #maxMessageBytes: number;

  constructor(options: RabbitmqTransportOptions) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#options = { ...DEFAULTS, ...given, url: options.url };
    this.name = `rabbitmq ${this.#options.exchange || 'default exchange'}`;
    this.#maxMessageBytes = this.#options.maxMessageBytes;
    this.#connector = new Connector(this.name, options);
  }

  async send(batch: readonly Message[], signal: AbortSignal): Promise<SendResult> {
    if (this.#ending.signal.aborted) throw new TransportUnavailableError(this.name, 'it is closed');
    if (batch.length === 0) return { failures: [] };
    if (signal.aborted) throw new TransportUnavailableError(this.name, 'told to stop');
    const stop = new AbortController();
    // Many keys may wait at once.
    setMaxListeners(0, stop.signal);
    const abort = (): void => stop.abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      const channel = await this.#opened(stop.signal);
      const send = this.#options.order === 'strict' ? this.#inTurn : this.#pipelined;
      return { failures: failuresOf(batch, await send.call(this, channel, batch, stop.signal)) };
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#opening?.catch(() => undefined);
    await this.#connection?.close();
  }

  /** Publishes one after the other, without waiting for the confirmations between them. */
  async #pipelined(
    channel: ConfirmingChannel,
    batch: readonly Message[],
    signal: AbortSignal,
  ): Promise<readonly Sending[]> {
    const sendings: Sending[] = [];
    const latest = new Map<string, Sending>();
    let stopped: Error | undefined;
    for (const [index, message] of batch.entries()) {
      if (latest.get(message.key)?.error) continue;
      if (!stopped && (signal.aborted || !channel.isReady)) stopped = await channel.ready(signal);
      const sending = this.#begin(channel, message, index, stopped);
      latest.set(message.key, sending);
      sendings.push(sending);
    }
    await channel.settled(sendings, signal);
    return sendings;
  }

  /** Publishes the messages of a key one after the other, each when the one before it is confirmed. */
  async #inTurn(
    channel: ConfirmingChannel,
    batch: readonly Message[],
    signal: AbortSignal,
  ): Promise<readonly Sending[]> {
    const indexes = new Map<string, number[]>();
    batch.forEach(({ key }, index) => indexes.set(key, [...(indexes.get(key) ?? []), index]));
    const oneKey = async (ofKey: readonly number[]): Promise<Sending[]> => {
      const sendings: Sending[] = [];
      for (const index of ofKey) {
        const message = batch[index];
        if (!message) break;
        const stopped = channel.isReady && !signal.aborted ? undefined : await channel.ready(signal);
        const sending = this.#begin(channel, message, index, stopped);
        sendings.push(sending);
        await channel.settled([sending], signal);
        if (sending.error) break;
      }
      return sendings;
    };
    return (await Promise.all([...indexes.values()].map(oneKey))).flat();
  }

  #begin(channel: ConfirmingChannel, message: Message, index: number, stopped: Error | undefined): Sending {
    if (stopped) return new Sending(message, index, stopped);
    const { routingKey, mandatory } = this.#options;
    const maxMessageBytes = this.#maxMessageBytes;
    const publication = publicationOf(message, index, {
      subject: this.name,
      routingKey,
      mandatory,
      maxMessageBytes,
    });
    return publication instanceof Error
      ? new Sending(message, index, publication)
      : channel.publish(message, index, publication);
  }

  /** The channel that is open, or a new one: all who ask meanwhile wait for the same. */
  async #opened(signal: AbortSignal): Promise<ConfirmingChannel> {
    if (this.#channel?.isOpen) return this.#channel;
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    const opening = this.#opening;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new TransportUnavailableError(this.name, 'told to stop'));
      signal.addEventListener('abort', stop, { once: true });
      void opening.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
    });
  }

  async #open(): Promise<ConfirmingChannel> {
    this.#learn(this.#channel?.closedBy);
    this.#channel = undefined;
    const { signal } = this.#ending;
    this.#connection = this.#connection?.isOpen ? this.#connection : await this.#connector.connect(signal);
    const { exchange, confirmTimeoutMs, maxInFlight } = this.#options;
    const options = { subject: this.name, exchange, confirmTimeoutMs, maxInFlight };
    this.#channel = new ConfirmingChannel(this.#connection, await this.#connection.confirmChannel(), options);
    return this.#channel;
  }

  /** A broker that takes less than the options say tells so by closing the channel: from then on it is known. */
  #learn(closedBy: unknown): void {
    if (replyCodeOf(closedBy) !== 406) return;
    const bytes = /message size \d+ is larger than .*?(\d+)/.exec(reasonOf(closedBy))?.[1];
    if (bytes !== undefined) this.#maxMessageBytes = Math.min(this.#maxMessageBytes, Number(bytes));
  }
}

/** What was not accepted, and what was not tried, in the order of the batch. */
function failuresOf(batch: readonly Message[], sendings: readonly Sending[]): SendFailure[] {
  const tried = new Map(sendings.map((sending) => [sending.index, sending]));
  return batch.flatMap((_, index) => {
    const sending = tried.get(index);
    if (!sending) return [{ index }];
    return sending.error ? [{ index, error: sending.error }] : [];
  });
}

function checkOptions({ url, order, ...numbers }: RabbitmqTransportOptions): void {
  checkUrl(url);
  if (order !== undefined && order !== 'pipelined' && order !== 'strict') {
    throw new InvalidArgumentError('order', order, "must be 'pipelined' or 'strict'");
  }
  const { confirmTimeoutMs, maxInFlight, maxMessageBytes } = numbers;
  checkNumbers({ confirmTimeoutMs, maxInFlight, maxMessageBytes });
}
