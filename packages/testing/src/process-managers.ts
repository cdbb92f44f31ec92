import type { AggregateClass, AnyDecider, EventType, ProcessManager } from '@refold/core';
import type { ExpectedError } from './aggregate-checks.js';
import type { GivenEvent } from './projections.js';
import { ReactionRun } from './reaction.js';

/** An event that a process manager appends, its own and those of aggregates that it commands. */
export interface ExpectedEvent {
  readonly stream: string;
  readonly event: object;
}

/** A timer of a process manager: due so long after the event of `when` was recorded, or at a time. */
export type ProcessTimer = {
  readonly name: string;
  readonly event: object;
  /** The instance that it belongs to. Default: that of the event of `when`. */
  readonly key?: string;
} & ({ readonly afterMs: number } | { readonly at: Date });

/** What a process manager under test needs to know beside its history. */
export interface ReactOptions {
  /** The aggregates that it commands. */
  readonly aggregates?: readonly (AggregateClass | AnyDecider)[];
  /** Plain event types in the history, or appended, that neither it nor an aggregate names. Classes need not be named. */
  readonly events?: readonly EventType[];
  /** Timers that are set already. */
  readonly timers?: readonly ProcessTimer[];
}

/** A process manager with what is in the log before. */
export interface GivenReaction<State> {
  /** An event arrives. One of a timer arrives in the process manager's own stream. */
  when(event: GivenEvent): Reaction<State>;
}

/** What came of an event. Await each check; any number may be made. */
export interface Reaction<State> {
  /** Exactly these events were appended, in this order, whether recorded, appended, or led to by a command. */
  thenAppends(expected: readonly ExpectedEvent[]): Promise<void>;
  /** Nothing was appended, and no timer was set or cancelled. */
  thenNothing(): Promise<void>;
  /** Exactly these timers are set now, those among them that were and have not been cancelled. In any order. */
  thenTimers(expected: readonly ProcessTimer[]): Promise<void>;
  /** The state of the event's instance now: what it must be, or a callback that asserts or returns false. */
  thenState(expected: State | ((state: State) => unknown)): Promise<void>;
  /** The handler threw, and nothing was done. Returns what was thrown, for further checks. */
  thenThrows(expected: ExpectedError): Promise<unknown>;
}

/**
 * Tests a process manager by one event, with what is in the log before: its own events, which make its state, and those
 * of the aggregates that it commands. They are not handled. It runs in an application of its own on the in-memory store,
 * as it runs in production, but a handler that throws is not tried again.
 *
 * ```ts
 * const reaction = react(payments, [{ stream: 'payments-42', event: new PaymentAsked(10) }], { aggregates: [Order] })
 *   .when({ stream: 'payments-42', event: new PaymentTimedOut() });
 * await reaction.thenAppends([{ stream: 'order-42', event: new OrderCancelled() }]);
 * await reaction.thenTimers([]);
 * ```
 */
export function react<State, Own extends object>(
  manager: ProcessManager<State, Own>,
  history: readonly GivenEvent[] = [],
  options: ReactOptions = {},
): GivenReaction<State> {
  return { when: (event) => new ReactionRun(manager, history, event, options) };
}
