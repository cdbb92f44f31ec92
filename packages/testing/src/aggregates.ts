import {
  type Aggregate,
  type AggregateClass,
  aggregateTypeOf,
  type Decider,
  type DeciderAggregate,
} from '@refold/core';
import { actOf, Subject, tried } from './acting.js';
import type { AggregateChecks, ExpectedError, ThenState } from './aggregate-checks.js';

/** What can be said of an aggregate under test beside its history. */
export interface GivenOptions {
  /** The aggregate's id. Default `'1'`. */
  readonly id?: string;
}

/** An aggregate of a class with its history. */
export interface GivenAggregate<A extends Aggregate> {
  /**
   * Calls the domain. For an aggregate with snapshots `act` runs a second time, on an instance restored from one, and
   * must come to the same types of events: a repository may repeat it as well.
   */
  when(act: (aggregate: A) => Promise<unknown>): ActedAsync<A, Partial<A>>;
  when(act: (aggregate: A) => unknown): ActedAggregate<A, Partial<A>>;
}

/** A decider with its history. */
export interface GivenDecider<Command, State, Event extends object> {
  /** Decides a command, or calls back where one command is not enough. See `GivenAggregate.when`. */
  when(
    act: (aggregate: DeciderAggregate<Command, State, Event>) => Promise<unknown>,
  ): ActedAsync<State, State, Event>;
  when(
    act: (aggregate: DeciderAggregate<Command, State, Event>) => unknown,
  ): ActedAggregate<State, State, Event>;
  when(command: Command): ActedAggregate<State, State, Event>;
}

/**
 * What came of `when`. `State` is what `thenState` looks at: the instance of a class, the state of a decider. One that
 * is awaited by mistake fails, for want of expected events.
 */
export interface ActedAggregate<State, Match, Event extends object = object> {
  /** Exactly these events were recorded, in this order. They are compared as they are stored: type and data. */
  then(expected: readonly Event[]): ThenState<State, Match>;
  /** Nothing was recorded, and nothing thrown. */
  thenNothing(): ThenState<State, Match>;
  /** The domain refused. Returns what was thrown, for further checks. */
  thenThrows(expected: ExpectedError): unknown;
  /** See `ThenState`. */
  thenState: ThenState<State, Match>['thenState'];
}

/** What will come of a `when` whose callback is asynchronous: the same checks, each to be awaited. */
export interface ActedAsync<State, Match, Event extends object = object> {
  /** See `ActedAggregate`. */
  then(expected: readonly Event[]): Promise<ThenState<State, Match>>;
  /** See `ActedAggregate`. */
  thenNothing(): Promise<ThenState<State, Match>>;
  /** See `ActedAggregate`. */
  thenThrows(expected: ExpectedError): Promise<unknown>;
  /** See `ThenState`. */
  thenState(expected: Match | ((state: State) => unknown)): Promise<ThenState<State, Match>>;
}

/**
 * Tests an aggregate by its events; needs no store and no test framework:
 *
 * ```ts
 * given(Order, [new OrderPlaced(2)]).when((order) => order.ship()).then([new OrderShipped()]);
 * given(Order).when((order) => order.ship()).thenThrows(NotPlacedError);
 * given(wallet, [Deposited(5)]).when({ type: 'withdraw', amount: 2 }).thenState({ balance: 3 });
 * ```
 *
 * It does with the events what a repository does, so it also fails where production would: if the history does not fold,
 * if an event (given or recorded) is not one of the aggregate's or does not survive its JSON round trip, and, where
 * there are snapshots, if the state does not survive one.
 */
export function given<A extends Aggregate>(
  aggregate: AggregateClass<A>,
  history?: readonly object[],
  options?: GivenOptions,
): GivenAggregate<A>;
export function given<Command, State, Event extends object>(
  aggregate: Decider<Command, State, Event>,
  history?: readonly Event[],
  options?: GivenOptions,
): GivenDecider<Command, State, Event>;
export function given(
  aggregate: object,
  history: readonly object[] = [],
  { id = '1' }: GivenOptions = {},
): { when(actOrCommand: unknown): Acted | ActedLater } {
  const subject = new Subject(aggregateTypeOf(aggregate), history, id);
  return {
    when(actOrCommand) {
      const act = actOf(actOrCommand);
      const attempt = tried(act, subject.folded());
      return attempt instanceof Promise
        ? actedLater(attempt.then((done) => subject.checksLater(done, act)))
        : acted(subject.checks(attempt, act));
    },
  };
}

type Acted = ActedAggregate<unknown, unknown>;
type ActedLater = ActedAsync<unknown, unknown>;

function acted(checks: AggregateChecks): Acted {
  return {
    then: (expected) => checks.recorded(expected),
    thenNothing: () => checks.nothing(),
    thenThrows: (expected) => checks.throws(expected),
    thenState: (expected) => checks.state(expected),
  };
}

function actedLater(checks: Promise<AggregateChecks>): ActedLater {
  return {
    then: async (expected) => (await checks).recorded(expected),
    thenNothing: async () => (await checks).nothing(),
    thenThrows: async (expected) => (await checks).throws(expected),
    thenState: async (expected) => (await checks).state(expected),
  };
}
