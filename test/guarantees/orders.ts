/** The deliveries under test, named after their guarantees. */
export const deliveryNames = ['exactly_once', 'at_least_once', 'at_most_once'] as const;
export type DeliveryName = (typeof deliveryNames)[number];

/** A place in a handler where its process may end by its own hand. */
export interface Death {
  readonly delivery: DeliveryName;
  /** Before its effect or after it. */
  readonly when: 'before' | 'after';
  /** For the event of this number that the delivery handles. */
  readonly call: number;
}

/** What a worker process is told when it starts. */
export interface Orders {
  readonly target: string;
  readonly place: string;
  /** Where the effects outside of the store are written. */
  readonly folder: string;
  /** Tells the processes of a run apart. */
  readonly life: number;
  readonly death?: Death;
}

/** How long leases last, short so that the next worker need not wait. */
export const LEASE_MS = 400;

/** Events in one batch, at most. */
export const BATCH_SIZE = 10;

/** Partitions of every delivery. */
export const PARTITIONS = 4;
