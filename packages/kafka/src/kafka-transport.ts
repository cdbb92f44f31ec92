import {
  TransportUnavailableError,
  type ExactlyOnceSender,
  type Message,
  type SendResult,
  type Subscription,
  type Transport,
} from '@refold/core';
import { makeProducer, type KafkaClient, type KafkaProducer, type KafkaRetry } from './client.js';
import { Connection } from './connection.js';
import { KafkaSender } from './kafka-sender.js';
import { problemOf, rejection, unavailable } from './kafka-errors.js';
import { KafkaPositionLog, type KafkaExactlyOnceOptions } from './kafka-position-log.js';
import { Outcome } from './outcome.js';
import { PartlyStoredError } from './parts-failed-error.js';
import { lanesOf, Placement, stepsOf, type Placed } from './placement.js';
import { ProduceQueue } from './produce-queue.js';
import { doneInTime } from './told-to-stop.js';
import { Topics } from './topics.js';

/** How messages get to Kafka. */
export interface KafkaTransportOptions {
  /** The client: `new Kafka({ brokers })`. What belongs to the connection (addresses, TLS, passwords) is said there. */
  readonly kafka: KafkaClient;
  /** Names the transport in errors and in the status. Default `kafka`. */
  readonly name?: string;
  /**
   * The largest message that is sent, uncompressed and with its headers, in bytes; a larger one is rejected before it is sent.
   * Not more than the topics' `max.message.bytes`, since what goes to a partition together is not larger either. Default
   * 1,000,000.
   */
  readonly maxMessageBytes?: number;
  /** How a producer tries again by itself before the delivery is told. Default: for about 3 seconds. */
  readonly retry?: KafkaRetry;
  /** How deliveries with the guarantee `exactlyOnce` keep their positions. */
  readonly exactlyOnce?: KafkaExactlyOnceOptions;
}

const RETRY: KafkaRetry = { retries: 5, initialRetryTime: 100, maxRetryTime: 2_000 };

/**
 * Sends messages to Kafka, each to the topic of its name and to the partition that Java's client would choose for its key.
 *
 * An idempotent producer waits for all in-sync replicas; what is sent at once shares its requests, and of each message it is
 * known whether it was accepted: see `ProduceQueue`. How exactly once works: see `openRange`.
 */
export class KafkaTransport implements Transport {
  readonly name: string;
  readonly supports = { exactlyOnce: true };
  readonly #topics: Topics;
  readonly #placement: Placement;
  readonly #producer: Connection<KafkaProducer>;
  readonly #queue: ProduceQueue;
  readonly #positions: KafkaPositionLog;
  #closed = false;

  constructor(options: KafkaTransportOptions) {
    const { kafka, name = 'kafka', maxMessageBytes = 1_000_000, exactlyOnce } = options;
    const retry = { ...RETRY, ...options.retry };
    this.name = name;
    this.#topics = new Topics(kafka);
    this.#placement = new Placement(name, this.#topics, maxMessageBytes);
    this.#producer = new Connection(() => makeProducer(kafka, { idempotent: true, retry }));
    this.#queue = new ProduceQueue(name, this.#producer);
    this.#positions = new KafkaPositionLog(kafka, this.#topics, name, exactlyOnce);
  }

  async send(batch: readonly Message[], signal: AbortSignal): Promise<SendResult> {
    const outcome = new Outcome(batch);
    if (this.#closed) return outcome.result(new TransportUnavailableError(this.name, 'it is closed'));
    const stopped = new TransportUnavailableError(this.name, 'told to stop before it was done');
    if (signal.aborted || batch.length === 0) return outcome.result(stopped);
    await doneInTime(this.#deliver(batch, outcome, signal), signal);
    return outcome.result(stopped);
  }

  async open(subscription: Subscription, signal: AbortSignal): Promise<ExactlyOnceSender> {
    if (this.#closed) throw new TransportUnavailableError(this.name, 'it is closed');
    const sender = new KafkaSender(this.name, this.#positions, this.#placement, subscription);
    await sender.open(signal);
    return sender;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue.idle();
    await Promise.all([this.#producer.close(), this.#positions.close()]);
    await this.#topics.close();
  }

  async #deliver(batch: readonly Message[], outcome: Outcome, signal: AbortSignal): Promise<void> {
    const places: Placed[] = [];
    for (const one of await this.#placement.of(batch)) {
      if (!outcome.isOpen(one.index)) continue;
      if ('error' in one) outcome.reject(one.index, one.error);
      else places.push(one);
    }
    for (const step of stepsOf(places)) {
      await Promise.all(lanesOf(step).map((lane) => this.#sendLane(lane, outcome, signal)));
    }
  }

  async #sendLane(lane: readonly Placed[], outcome: Outcome, signal: AbortSignal): Promise<void> {
    for (const chunk of this.#placement.chunks(lane)) await this.#sendChunk(chunk, outcome, signal);
  }

  /** Sends records of one partition: all of them are stored, or none. */
  async #sendChunk(chunk: readonly Placed[], outcome: Outcome, signal: AbortSignal): Promise<void> {
    const open = chunk.filter(({ index }) => outcome.isOpen(index));
    if (open.length === 0 || outcome.ended || signal.aborted) return;
    try {
      await this.#queue.send(open, signal);
      outcome.accept(open.map(({ index }) => index));
    } catch (error) {
      await this.#settle(open, error, outcome, signal);
    }
  }

  async #settle(
    open: readonly Placed[],
    error: unknown,
    outcome: Outcome,
    signal: AbortSignal,
  ): Promise<void> {
    if (error instanceof PartlyStoredError) {
      const rest = this.#unstored(open, error, outcome).filter(({ index }) => outcome.isOpen(index));
      return this.#settle(rest, error.cause, outcome, signal);
    }
    const problem = problemOf(error);
    const [first] = open;
    if (first && problem === 'topic') this.#topics.forget(first.message.topic);
    if (problem === 'record' && open.length > 1) {
      for (const one of open) await this.#sendChunk([one], outcome, signal);
    } else if (problem === 'record' || problem === 'topic') {
      for (const { index, message } of open) {
        if (outcome.isOpen(index)) outcome.reject(index, rejection(this.name, message, index, error));
      }
    } else {
      outcome.end(unavailable(this.name, error));
    }
  }

  /** Accepts what was stored, and returns what was not and can be sent now. */
  #unstored(open: readonly Placed[], { stored, cause }: PartlyStoredError, outcome: Outcome): Placed[] {
    const places = new Set(stored);
    const accepted = open.filter((_, place) => places.has(place));
    outcome.accept(accepted.map(({ index }) => index));
    const rest = open.filter((_, place) => !places.has(place));
    for (const { index, message } of rest) {
      if (!accepted.some((one) => one.index > index && one.message.key === message.key)) continue;
      const reason = 'it was refused with others, behind which later messages of its key were taken';
      outcome.reject(index, new TransportUnavailableError(this.name, reason, { cause }));
    }
    return rest;
  }
}

/**
 * Sends deliveries to Kafka: `delivery('orders_out', { transport: kafkaTransport({ kafka: new Kafka({ brokers }) }) })`.
 * The application closes it with itself; nothing is connected before the first message.
 */
export function kafkaTransport(options: KafkaTransportOptions): KafkaTransport {
  return new KafkaTransport(options);
}
