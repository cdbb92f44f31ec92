import type { Channel } from 'amqplib';

/** An exchange. */
export interface RabbitmqExchange {
  readonly name: string;
  /** Default `topic`. */
  readonly type?: string;
  /** Where messages go that no queue of this exchange takes. */
  readonly alternateExchange?: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

/** What brings an exchange's messages into a queue. */
export interface RabbitmqBinding {
  readonly exchange: string;
  /** Which routing keys: `order.*`, `#` for all. Default `#`. */
  readonly pattern?: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

/** A queue; durable. */
export interface RabbitmqQueue {
  readonly name: string;
  /**
   * Default `quorum`: replicated, and it counts deliveries. A `stream` keeps what is read, for as long as `maxAge` and
   * `maxBytes` say.
   */
  readonly type?: 'quorum' | 'stream' | 'classic';
  readonly bindings?: readonly RabbitmqBinding[];
  /**
   * Whether one consumer at a time gets messages, and the next only when that one is gone and what it had in hand is back in
   * its place. Without it, a consumer that comes while another is dying gets later messages of a key first. Not for streams.
   * Default false: consumers share the messages.
   */
  readonly singleActiveConsumer?: boolean;
  /** Where messages go that a consumer gives up: a queue, which is declared too. Not for streams. */
  readonly deadLetterQueue?: string;
  /** Where messages go that a consumer gives up, under their own routing keys. Not for streams. */
  readonly deadLetterExchange?: string;
  /** How often a quorum queue delivers a message before it is a dead letter; RabbitMQ 4: 20 by default, before that: no bound. */
  readonly deliveryLimit?: number;
  /** How many messages it holds. A queue that is full rejects more of them, unless `arguments` say otherwise. */
  readonly maxLength?: number;
  /** How much it holds. */
  readonly maxBytes?: number;
  /** How long a stream keeps messages: `7D`, `12h`. */
  readonly maxAge?: string;
  /** Further arguments, which win over the rest. */
  readonly arguments?: Readonly<Record<string, unknown>>;
}

/** Exchanges and queues that are created where they are missing. Where they are there, they must be the same. */
export interface RabbitmqTopology {
  readonly exchanges?: readonly RabbitmqExchange[];
  readonly queues?: readonly RabbitmqQueue[];
}

/** Declares exchanges, then queues, then bindings. A difference from what is there closes the channel. */
export async function declareOn(channel: Channel, topology: RabbitmqTopology): Promise<void> {
  for (const { name, type = 'topic', alternateExchange, arguments: own } of topology.exchanges ?? []) {
    await channel.assertExchange(name, type, { durable: true, alternateExchange, arguments: { ...own } });
  }
  for (const queue of topology.queues ?? []) {
    const { name, deadLetterQueue, bindings = [] } = queue;
    if (deadLetterQueue !== undefined) {
      await channel.assertQueue(deadLetterQueue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    }
    await channel.assertQueue(name, { durable: true, arguments: argumentsOf(queue) });
    for (const { exchange, pattern = '#', arguments: own } of bindings) {
      await channel.bindQueue(name, exchange, pattern, { ...own });
    }
  }
}

function argumentsOf(queue: RabbitmqQueue): Record<string, unknown> {
  const { type = 'quorum', deadLetterQueue, deadLetterExchange } = queue;
  const { deliveryLimit, maxLength, maxBytes, maxAge } = queue;
  const deadLetters = deadLetterExchange ?? (deadLetterQueue === undefined ? undefined : '');
  const bounded = maxLength !== undefined || maxBytes !== undefined || deadLetters !== undefined;
  const all = {
    'x-queue-type': type,
    'x-dead-letter-exchange': deadLetters,
    'x-dead-letter-routing-key': deadLetterQueue,
    // Otherwise a dead letter is lost that arrives when its queue cannot take it.
    'x-dead-letter-strategy': type === 'quorum' && deadLetters !== undefined ? 'at-least-once' : undefined,
    'x-overflow': type !== 'stream' && bounded ? 'reject-publish' : undefined,
    'x-single-active-consumer': queue.singleActiveConsumer || undefined,
    'x-delivery-limit': deliveryLimit,
    'x-max-length': maxLength,
    'x-max-length-bytes': maxBytes,
    'x-max-age': maxAge,
    ...queue.arguments,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
