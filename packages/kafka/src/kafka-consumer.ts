import { setTimeout as sleep } from 'node:timers/promises';
import {
  consoleLogger,
  InvalidArgumentError,
  messageOf as textOf,
  type Logger,
  type ReceivedMessage,
} from '@refold/core';
import {
  makeConsumer,
  type KafkaClient,
  type KafkaFetched,
  type KafkaReceived,
  type KafkaSubscriber,
} from './client.js';
import { problemOf } from './kafka-errors.js';
import { messageOf } from './record.js';

/** What can be said of a consumer. */
export interface KafkaConsumerOptions {
  /** The client: `new Kafka({ brokers })`. */
  readonly kafka: KafkaClient;
  /** Those that share the messages: each partition goes to one member of the group. */
  readonly groupId: string;
  readonly topics: readonly string[];
  /** Where a group begins that has no offsets. Default true: with the first message that is still there. */
  readonly fromBeginning?: boolean;
  /** How many partitions are handled at the same time. Default 1: one after the other. */
  readonly concurrency?: number;
  /**
   * How long the group keeps the partitions of a member that is gone, in milliseconds; brokers take 6,000 to 1,800,000. Default:
   * what the client says, 30,000.
   */
  readonly sessionTimeoutMs?: number;
  /** How often a message is handled that fails, before it is given up. Default 5. */
  readonly maxAttempts?: number;
  /** The pause before the second attempt, in milliseconds; it doubles up to a minute. Default 200. */
  readonly retryDelayMs?: number;
  /**
   * What becomes of a message behind its last attempt. `stop`, the default: `run` rejects, and the message is the next one of
   * its partition. `skip`: it is logged and left out.
   */
  readonly afterAttempts?: 'stop' | 'skip';
  /** Default `consoleLogger`. */
  readonly logger?: Logger;
}

/** What a handler is told beside the message. */
export interface KafkaMessageContext {
  readonly partition: number;
  readonly offset: string;
  /** From 1; what earlier consumers did with the message is not counted. */
  readonly attempt: number;
  /** Aborts when the consumer is told to stop. */
  readonly signal: AbortSignal;
}

/** Handles a message, whose offset is committed when the promise has resolved, and which is tried again if it rejects. */
export type KafkaMessageHandler = (
  message: ReceivedMessage,
  context: KafkaMessageContext,
) => Promise<unknown> | void;

/** Handles the messages of topics. */
export interface KafkaConsumer {
  readonly name: string;
  /**
   * Handles committed messages until the signal aborts: those of one partition one after the other, each at least once. Offsets
   * are committed behind what is handled, so that a crash repeats what was not committed yet. Connects again when connections
   * break. When the signal aborts, the message in hand is finished and its offset committed.
   * @throws whatever the handler threw, where `afterAttempts` says stop; what the client does if a topic is not there
   */
  run(handler: KafkaMessageHandler, options: { readonly signal: AbortSignal }): Promise<void>;
}

const AGAIN_MS = 200;
const LONGEST_DELAY_MS = 60_000;
const HEARTBEAT_MS = 2_000;
/** How long the broker waits for records at a time; so long it may take to end, too. */
const FETCH_MS = 1_000;

/** A consumer of topics, which connects when it runs. @throws InvalidArgumentError for a bad option */
export function kafkaConsumer(options: KafkaConsumerOptions): KafkaConsumer {
  const { groupId, topics, maxAttempts = 5, retryDelayMs = 200, afterAttempts = 'stop' } = options;
  if (groupId === '') throw new InvalidArgumentError('groupId', groupId, 'must be a name');
  if (topics.length === 0) throw new InvalidArgumentError('topics', topics, 'must name one at least');
  for (const [option, value] of Object.entries({
    maxAttempts,
    concurrency: options.concurrency ?? 1,
    sessionTimeoutMs: options.sessionTimeoutMs ?? 1,
  })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new InvalidArgumentError(option, value, 'must be a whole number from 1');
  }
  if (!(retryDelayMs >= 0)) throw new InvalidArgumentError('retryDelayMs', retryDelayMs, 'must be 0 or more');
  if (!['stop', 'skip'].includes(afterAttempts)) {
    throw new InvalidArgumentError('afterAttempts', afterAttempts, "must be 'stop' or 'skip'");
  }
  const name = `kafka group ${groupId}`;
  return {
    name,
    run: async (handler, { signal }) => {
      const { logger = consoleLogger } = options;
      while (!signal.aborted) {
        try {
          await new Membership(
            { ...options, maxAttempts, retryDelayMs, afterAttempts, logger },
            handler,
            signal,
          ).run();
        } catch (error) {
          if (error instanceof GivenUpError) throw error.cause;
          if (problemOf(error) === 'topic') throw error;
          if (!signal.aborted) logger.warn(`${name}: ${textOf(error)}; connecting again`);
          await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
        }
      }
    },
  };
}

/** A message had its attempts. */
class GivenUpError extends Error {}

type MembershipOptions = KafkaConsumerOptions &
  Required<Pick<KafkaConsumerOptions, 'maxAttempts' | 'retryDelayMs' | 'afterAttempts' | 'logger'>>;

/** One client's time as a member of the group. */
class Membership {
  readonly #options: MembershipOptions;
  readonly #handler: KafkaMessageHandler;
  readonly #signal: AbortSignal;
  #fail: (error: unknown) => void = () => {};
  #isOver = false;

  constructor(options: MembershipOptions, handler: KafkaMessageHandler, signal: AbortSignal) {
    this.#options = options;
    this.#handler = handler;
    this.#signal = signal;
  }

  /** Resolves when the signal aborts. @throws GivenUpError, and what the client gave up at */
  async run(): Promise<void> {
    const { kafka, groupId, topics, fromBeginning = true, concurrency = 1, sessionTimeoutMs } = this.#options;
    const session =
      sessionTimeoutMs === undefined
        ? {}
        : { sessionTimeout: sessionTimeoutMs, heartbeatInterval: Math.ceil(sessionTimeoutMs / 6) };
    const maxWaitTimeInMs = FETCH_MS;
    const consumer = makeConsumer(kafka, {
      ...{ ...session, groupId, fromBeginning, autoCommit: true, maxWaitTimeInMs },
    });
    const failed = new Promise<never>((_, reject) => (this.#fail = reject));
    failed.catch(() => undefined);
    this.#listen(consumer);
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [...topics], fromBeginning });
      const eachBatch = (fetched: KafkaFetched): Promise<void> => this.#each(fetched);
      const partitionsConsumedConcurrently = concurrency;
      await consumer.run({
        ...{ autoCommit: true, eachBatchAutoResolve: false },
        ...{ eachBatch, partitionsConsumedConcurrently },
      });
      await Promise.race([failed, aborted(this.#signal)]);
    } finally {
      this.#isOver = true;
      await consumer.disconnect().catch(() => undefined);
    }
  }

  #listen(consumer: KafkaSubscriber): void {
    consumer.on?.('consumer.crash', ({ payload }) => {
      const { error, restart } = payload as { readonly error: Error; readonly restart: boolean };
      if (!restart) this.#fail(error);
    });
  }

  async #each(fetched: KafkaFetched): Promise<void> {
    const { topic, partition, messages } = fetched.batch;
    const beat = setInterval(() => void fetched.heartbeat().catch(() => undefined), HEARTBEAT_MS);
    try {
      for (const record of messages) {
        if (this.#isOver || this.#signal.aborted || !fetched.isRunning() || fetched.isStale()) return;
        if (!(await this.#handle(topic, partition, record))) return;
        fetched.resolveOffset(record.offset);
      }
      fetched.resolveOffset(fetched.batch.lastOffset());
    } finally {
      clearInterval(beat);
    }
  }

  /** True when the message is done with. */
  async #handle(topic: string, partition: number, record: KafkaReceived): Promise<boolean> {
    const { maxAttempts, retryDelayMs, afterAttempts, logger } = this.#options;
    const { offset } = record;
    for (let attempt = 1; ; attempt++) {
      try {
        const message = messageOf(topic, partition, record);
        await this.#handler(message, { partition, offset, attempt, signal: this.#signal });
        return true;
      } catch (error) {
        if (this.#signal.aborted || this.#isOver) return false;
        if (attempt >= maxAttempts) {
          if (afterAttempts === 'stop') {
            this.#fail(new GivenUpError('A message had its attempts', { cause: error }));
            return false;
          }
          logger.error(`skipped offset ${offset} of ${topic}/${partition}: ${textOf(error)}`);
          return true;
        }
        const delay = Math.min(LONGEST_DELAY_MS, retryDelayMs * 2 ** (attempt - 1));
        await sleep(delay, undefined, { signal: this.#signal }).catch(() => undefined);
      }
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
