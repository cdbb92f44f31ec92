import { defineEvent } from '@refold/core';

/** What is delivered: numbers, from 0 without gaps in every stream. */
export const Counted = defineEvent('Counted', (n: number) => ({ n }));

/** What the consumer appends to a store of its own for every message. */
export const Received = defineEvent('Received', (n: number) => ({ n }));

/** The delivery under test. */
export const DELIVERY = 'counts_out';

/** Its partitions, and how many events one batch has at most. */
export const PARTITIONS = 4;
export const BATCH_SIZE = 500;

/** How long leases last, short so that the next relay need not wait. */
export const LEASE_MS = 500;

/** What the processes of a run are told when they start. */
export interface Task {
  readonly broker: string;
  /** Where the broker answers. */
  readonly address: string;
  /** Tells what this run has in the broker from what others have there. */
  readonly topic: string;
  /** The log that the relay reads. */
  readonly log: string;
  /** The store of the consumer. */
  readonly received: string;
  /** A line for every message that arrives, repeats included. */
  readonly journal: string;
}
