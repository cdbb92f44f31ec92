import type { Guarantee, ReceivedMessage, Transport } from '@refold/core';
import type { Task } from './counted.js';

/** A broker that a run may kill and start again. */
export interface RunningBroker {
  readonly address: string;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** What is known of a way to deliver, in the run and in its processes. */
export interface BrokerTarget {
  readonly name: string;
  readonly guarantee: Guarantee;
  /** A broker for this run; or why there is none. */
  service(): Promise<RunningBroker | { readonly missing: string }>;
  /** Makes what the run needs in the broker. */
  prepare(task: Task): Promise<void>;
  transport(task: Task): Transport;
  /** Gives all that arrives to the handler, in order, until the signal aborts; acknowledges what it has resolved for. */
  consume(
    task: Task,
    handler: (message: ReceivedMessage) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void>;
  /** The ids of all messages that the broker took, in its order, where it keeps them. */
  readonly taken?: (task: Task) => Promise<readonly string[]>;
}
