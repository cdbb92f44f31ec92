import type { EventBatch } from '../store/event-reader.js';

/**
 * A log outside of the store whose partitions are each in order, but not among each other: a Kafka topic, a RabbitMQ stream.
 * Positions are those of one partition: safe integers from 1 that grow (the offset and 1), not always without gaps.
 */
export interface PartitionedLog {
  /** Names it in errors and in the status: `kafka topic orders`. */
  readonly name: string;
  /** How many partitions there are; they are numbered from 0. */
  partitions(signal?: AbortSignal): Promise<number>;
  /** The position of the first message that is still there, and of the last; `last` is `first - 1` for an empty partition. */
  bounds(partition: number, signal?: AbortSignal): Promise<{ readonly first: number; readonly last: number }>;
  /**
   * The messages behind a position as stored events, in batches, waiting for more until the signal aborts. Each partition
   * can be read by itself; every message comes once and in order, reconnections included. `through` of a batch is the
   * position up to which the partition is read.
   * @throws TransportUnavailableError only where reconnecting is pointless
   */
  read(partition: number, after: number, signal: AbortSignal): AsyncIterable<EventBatch>;
  close(): Promise<void>;
}
