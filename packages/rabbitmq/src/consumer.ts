import { consoleLogger, InvalidArgumentError, type Logger, type ReceivedMessage } from '@refold/core';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkNumbers, checkUrl } from './check-options.js';
import { Connector, isRefusal, type BrokerConnection, type RabbitmqConnectionOptions } from './connection.js';
import { Consumption } from './consumption.js';

/** What can be said of a consumer. */
export interface RabbitmqConsumerOptions extends RabbitmqConnectionOptions {
  readonly queue: string;
  /**
   * How many messages the broker hands out before they are acknowledged. Default 50. Those that go back to the queue unhandled
   * may count as delivered, where the queue has a delivery limit.
   */
  readonly prefetch?: number;
  /** How many messages are handled at once, of different keys. Default 1: all in the order of the queue. */
  readonly concurrency?: number;
  /** How often a message is handled that fails, before it is given up. Default 5. */
  readonly maxAttempts?: number;
  /** The pause before the second attempt, in milliseconds; it doubles up to a minute. Default 200. */
  readonly retryDelayMs?: number;
  /**
   * What becomes of a message behind its last attempt. `stop`, the default: it stays in the queue, and `run` rejects.
   * `deadLetter`: the broker moves it to where the queue's dead letters go, and drops it if the queue has no such place.
   * `requeue`: it goes back to the queue, for any consumer, and a delivery limit of the queue counts.
   */
  readonly afterAttempts?: 'stop' | 'deadLetter' | 'requeue';
  /** Default `consoleLogger`. */
  readonly logger?: Logger;
}

/** What a handler is told beside the message. */
export interface RabbitmqMessageContext {
  /** From 1; what earlier consumers did with the message is not counted: a quorum queue's `x-delivery-count` tells. */
  readonly attempt: number;
  /** Whether the broker has handed out the message before, so that it may have been handled. */
  readonly redelivered: boolean;
  /** Aborts when the consumer is told to stop, or when the broker may give the message to somebody else. */
  readonly signal: AbortSignal;
}

/** Handles a message, which is acknowledged when the promise resolves, and tried again if it rejects. */
export type RabbitmqMessageHandler = (
  message: ReceivedMessage,
  context: RabbitmqMessageContext,
) => Promise<unknown> | void;

/** Takes messages out of a queue. */
export interface RabbitmqConsumer {
  readonly name: string;
  /**
   * Handles messages until the signal aborts: those of one key in their order, each at least once. Among several consumers of a
   * queue, and from one to the next, the order holds only with `singleActiveConsumer`. It connects again when
   * connections break; messages that were not acknowledged come again then. When the signal aborts, what is being handled is
   * awaited and acknowledged, and the rest goes back to the queue.
   * @throws TransportUnavailableError if the broker refuses what it is asked: there is no such queue, or no permission
   * @throws whatever the handler threw, where `afterAttempts` says stop
   */
  run(handler: RabbitmqMessageHandler, options: { readonly signal: AbortSignal }): Promise<void>;
}

/** How long it waits before it connects again. */
const AGAIN_MS = 100;

/** A consumer of a queue, which connects when it runs. @throws InvalidArgumentError for a bad option */
export function rabbitmqConsumer(options: RabbitmqConsumerOptions): RabbitmqConsumer {
  const { url, afterAttempts, prefetch, concurrency, maxAttempts, retryDelayMs } = options;
  checkUrl(url);
  checkNumbers({ prefetch, concurrency, maxAttempts, retryDelayMs });
  if (afterAttempts !== undefined && !['stop', 'deadLetter', 'requeue'].includes(afterAttempts)) {
    throw new InvalidArgumentError(
      'afterAttempts',
      afterAttempts,
      "must be 'stop', 'deadLetter' or 'requeue'",
    );
  }
  const name = `rabbitmq queue ${options.queue}`;
  return { name, run: (handler, { signal }) => run(name, options, handler, signal) };
}

async function run(
  name: string,
  options: RabbitmqConsumerOptions,
  handler: RabbitmqMessageHandler,
  given: AbortSignal,
): Promise<void> {
  const signal = AbortSignal.any([given]);
  setMaxListeners(0, signal);
  const { logger = consoleLogger } = options;
  const connector = new Connector(name, options);
  while (!signal.aborted) {
    const connection = await connected(connector, name, logger, signal);
    if (!connection) return;
    try {
      const reason = await new Consumption(name, connection, options, handler, signal).run();
      if (!signal.aborted) logger.warn(`${name}: ${reason}; connecting again`);
      await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    } finally {
      await connection.close();
    }
  }
}

/** A connection, however long it takes; undefined if the signal aborts before. */
async function connected(
  connector: Connector,
  name: string,
  logger: Logger,
  signal: AbortSignal,
): Promise<BrokerConnection | undefined> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      return await connector.connect(signal);
    } catch (error) {
      if (isRefusal(error)) throw error;
      if (attempt === 1 && !signal.aborted) logger.warn(`${name}: ${String(error)}; trying again`);
    }
  }
  return undefined;
}
