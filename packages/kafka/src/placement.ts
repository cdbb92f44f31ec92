import type { Message, MessageRejectedError, TransportUnavailableError } from '@refold/core';
import type { KafkaRecord } from './client.js';
import { problemOf, rejection, tooLarge, unavailable } from './kafka-errors.js';
import { partitionOf } from './partition-of.js';
import { BATCH_BYTES, recordOf, sizeOf } from './record.js';
import type { Topics } from './topics.js';

/** A message with the record and the partition that it becomes. */
export interface Placed {
  readonly index: number;
  readonly message: Message;
  readonly record: KafkaRecord;
  readonly partition: number;
  readonly bytes: number;
}

/** Why a message has no place. */
export interface Unplaced {
  readonly index: number;
  readonly error: MessageRejectedError | TransportUnavailableError;
}

/** So many records go into one request at most: clients take longer for each, the more there are. */
const CHUNK = 1_000;

/** Finds the places of messages, in their order; the first that has none for a lasting reason does not keep others from theirs. */
export class Placement {
  readonly #transport: string;
  readonly #topics: Topics;
  readonly #maxMessageBytes: number;

  constructor(transport: string, topics: Topics, maxMessageBytes: number) {
    this.#transport = transport;
    this.#topics = topics;
    this.#maxMessageBytes = maxMessageBytes;
  }

  async of(batch: readonly Message[]): Promise<readonly (Placed | Unplaced)[]> {
    const counts = new Map<string, number | Error>();
    const names = [...new Set(batch.map(({ topic }) => topic))];
    await Promise.all(
      names.map(async (topic) => {
        counts.set(topic, await this.#topics.partitions(topic).catch(asError));
      }),
    );
    return batch.map((message, index) => this.#place(message, index, counts.get(message.topic)));
  }

  /** Parts of what goes to one partition, each as large as a request may be. */
  chunks(lane: readonly Placed[]): Placed[][] {
    const chunks: Placed[][] = [];
    let room = 0;
    for (const one of lane) {
      const last = chunks.at(-1);
      if (last && one.bytes <= room && last.length < CHUNK) last.push(one);
      else chunks.push([one]);
      const begun = chunks.at(-1)?.length === 1;
      room = (begun ? this.#maxMessageBytes - BATCH_BYTES : room) - one.bytes;
    }
    return chunks;
  }

  #place(message: Message, index: number, count: number | Error | undefined): Placed | Unplaced {
    if (typeof count !== 'number') {
      const lasting = problemOf(count) === 'topic';
      const name = this.#transport;
      return { index, error: lasting ? rejection(name, message, index, count) : unavailable(name, count) };
    }
    const partition = partitionOf(message.key, count);
    const record = recordOf(message, partition);
    const bytes = sizeOf(record);
    const most = this.#maxMessageBytes;
    if (bytes + BATCH_BYTES > most)
      return { index, error: tooLarge(this.#transport, message, index, bytes, most) };
    return { index, message, record, partition, bytes };
  }
}

/**
 * Cuts a batch into steps in each of which a key goes to one topic only: what is sent at once may arrive in any order. One
 * step, as long as keys have their topics.
 */
export function stepsOf(places: readonly Placed[]): Placed[][] {
  const steps: Placed[][] = [];
  let topics = new Map<string, string>();
  for (const one of places) {
    const { key, topic } = one.message;
    const last = steps.at(-1);
    if (last && (topics.get(key) ?? topic) === topic) last.push(one);
    else {
      steps.push([one]);
      topics = new Map();
    }
    topics.set(key, topic);
  }
  return steps;
}

/** What goes to one partition of one topic, for all that there are. */
export function lanesOf(places: readonly Placed[]): Placed[][] {
  const lanes = new Map<string, Placed[]>();
  for (const one of places) {
    const name = `${one.message.topic}/${one.partition}`;
    const lane = lanes.get(name);
    if (lane) lane.push(one);
    else lanes.set(name, [one]);
  }
  return [...lanes.values()];
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
