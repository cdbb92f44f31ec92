import { randomUUID } from 'node:crypto';
import {
  TransportUnavailableError,
  type ExactlyOnceSender,
  type Message,
  type SentPlace,
  type Subscription,
} from '@refold/core';
import type { KafkaTopicRecords } from './client.js';
import { problemOf, rejection, unavailable } from './kafka-errors.js';
import {
  TransactionRequestError,
  type KafkaPositionLog,
  type TransactionRecords,
} from './kafka-position-log.js';
import { openRange, type OpenRange } from './open-range.js';
import { lanesOf, type Placed, type Placement } from './placement.js';
import { doneInTime } from './told-to-stop.js';

/** Sends one partition of a delivery in transactions that carry its position. */
export class KafkaSender implements ExactlyOnceSender {
  readonly #transport: string;
  readonly #log: KafkaPositionLog;
  readonly #placement: Placement;
  readonly #subscription: Subscription;
  /** Undefined after a failure: a producer that has failed numbers its records wrongly. */
  #range: OpenRange<TransactionRecords> | undefined;
  /** What was known of the range when it was last open. */
  #last: OpenRange<TransactionRecords> | undefined;
  #ended = false;

  constructor(transport: string, log: KafkaPositionLog, placement: Placement, subscription: Subscription) {
    this.#transport = transport;
    this.#log = log;
    this.#placement = placement;
    this.#subscription = subscription;
  }

  /** @throws TransportUnavailableError */
  async open(signal: AbortSignal): Promise<void> {
    await this.#opened(signal);
  }

  has(place: SentPlace): boolean {
    return this.#last?.has(place) ?? false;
  }

  async send(batch: readonly Message[], through: number, signal: AbortSignal): Promise<void> {
    if (this.#ended) throw new TransportUnavailableError(this.#transport, 'it was closed: open it anew');
    signal.throwIfAborted();
    const places: Placed[] = [];
    for (const one of await this.#placement.of(batch)) {
      if ('error' in one) throw one.error;
      places.push(one);
    }
    const work = this.#sendAll(places, through, signal);
    work.catch(() => undefined);
    if (await doneInTime(work, signal)) return;
    this.#ended = true;
    throw new TransportUnavailableError(this.#transport, 'told to stop before it was done');
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#drop();
  }

  async #sendAll(places: readonly Placed[], through: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#commit(this.#requests(places), through, signal);
    } catch (error) {
      if (!isRejected(error) || places.length === 1) throw this.#failure(error, places);
      await this.#sendSingly(places, through, signal);
    }
  }

  /** Sends the same in requests of one message each, so as to know which of them is not accepted. */
  async #sendSingly(places: readonly Placed[], through: number, signal: AbortSignal): Promise<void> {
    const requests = places.map(({ message, record }) => [{ topic: message.topic, messages: [record] }]);
    try {
      await this.#commit(requests, through, signal);
    } catch (error) {
      throw this.#failure(error, places);
    }
  }

  async #commit(requests: TransactionRecords, through: number, signal: AbortSignal): Promise<void> {
    const range = await this.#opened(signal);
    try {
      await range.send(requests, through);
    } catch (error) {
      await this.#drop();
      throw error;
    }
  }

  /** As few requests as the sizes allow, each with at most one part for every partition. */
  #requests(places: readonly Placed[]): TransactionRecords {
    const requests: KafkaTopicRecords[][] = [];
    for (const lane of lanesOf(places)) {
      for (const [place, chunk] of this.#placement.chunks(lane).entries()) {
        const [{ message: { topic } = { topic: '' } } = {}] = chunk;
        (requests[place] ??= []).push({ topic, messages: chunk.map(({ record }) => record) });
      }
    }
    return requests;
  }

  async #opened(signal: AbortSignal): Promise<OpenRange<TransactionRecords>> {
    try {
      this.#range ??= await openRange(this.#log, this.#subscription, { signal, word: randomUUID });
      return (this.#last = this.#range);
    } catch (error) {
      throw unavailable(this.#transport, error);
    }
  }

  async #drop(): Promise<void> {
    const range = this.#range;
    this.#range = undefined;
    await range?.close().catch(() => undefined);
  }

  #failure(error: unknown, places: readonly Placed[]): Error {
    const place = error instanceof TransactionRequestError ? places[error.request] : undefined;
    if (isRejected(error) && place) return rejection(this.#transport, place.message, place.index, error);
    this.#ended = true;
    if (problemOf(error) !== 'fenced') return unavailable(this.#transport, error);
    const reason = 'another sender has been opened for the partition';
    return new TransportUnavailableError(this.#transport, reason, { cause: error });
  }
}

function isRejected(error: unknown): boolean {
  const problem = problemOf(error);
  return error instanceof TransactionRequestError && (problem === 'record' || problem === 'topic');
}
