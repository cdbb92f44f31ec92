import { type Aggregate, DeciderAggregate, messageOf } from '@refold/core';
import { expectEqual, fail, nameOfError, shown, shownError } from './failure.js';

/** What `thenThrows` accepts: the error's class, what its message matches, or a check of your own. */
export type ExpectedError =
  (abstract new (...args: never[]) => Error) | RegExp | ((error: unknown) => boolean);

/** What may follow a check. */
export interface ThenState<State, Match> {
  /**
   * The state afterwards: what it must be (for classes the properties that are named, for deciders all of it), or a
   * callback that asserts, or that returns false where it is wrong.
   */
  thenState(expected: Match | ((state: State) => unknown)): ThenState<State, Match>;
}

/** A call of the domain that has ended. */
export interface Attempt {
  readonly aggregate: Aggregate;
  readonly thrown: { readonly error: unknown } | undefined;
}

/** An event as a log keeps it. */
export interface StoredForm {
  readonly type: string;
  readonly data: unknown;
}

/** The checks on what one `when` came to. It has no `then` of its own, so it can be the result of a promise. */
export class AggregateChecks {
  readonly #attempt: Attempt;
  readonly #recorded: readonly StoredForm[];
  readonly #storedForms: (expected: readonly object[]) => StoredForm[];

  constructor(
    attempt: Attempt,
    recorded: readonly StoredForm[],
    storedForms: (expected: readonly object[]) => StoredForm[],
  ) {
    this.#attempt = attempt;
    this.#recorded = recorded;
    this.#storedForms = storedForms;
  }

  recorded(expected: readonly object[]): ThenState<unknown, unknown> {
    // Whatever has a then method can be awaited, which calls it with two functions.
    if (!Array.isArray(expected)) throw new TypeError('then() takes an array of the expected events');
    this.#mustNotHaveThrown(`record ${listed(this.#storedForms(expected).map(({ type }) => type))}`);
    expectEqual(this.#recorded, this.#storedForms(expected), 'The recorded events are not the expected ones');
    return this.#next;
  }

  nothing(): ThenState<unknown, unknown> {
    this.#mustNotHaveThrown('record nothing');
    if (this.#recorded.length > 0) fail(`Expected nothing to be recorded, but it ${this.summary()}`);
    return this.#next;
  }

  throws(expected: ExpectedError): unknown {
    const { thrown } = this.#attempt;
    const wanted =
      typeof expected === 'function' ? expected.name || 'an error' : `an error matching ${String(expected)}`;
    if (!thrown) fail(`Expected ${wanted} to be thrown, but it ${this.summary()}`);
    if (!matches(thrown.error, expected)) {
      fail(`Expected ${wanted} to be thrown, but it threw ${shownError(thrown.error)}`, thrown.error);
    }
    return thrown.error;
  }

  state(expected: unknown): ThenState<unknown, unknown> {
    this.#mustNotHaveThrown('have a state to check');
    const { aggregate } = this.#attempt;
    const decided = aggregate instanceof DeciderAggregate;
    const state: unknown = decided ? aggregate.state : aggregate;
    if (isCheck(expected)) {
      const verdict = expected(state);
      if (verdict === false) fail(`The check of the state returned false; it is ${shown(state)}`);
      if (verdict instanceof Promise) throw new TypeError('A check of the state must be synchronous');
    } else {
      expectEqual(
        decided ? state : picked(aggregate, expected),
        expected,
        'The state is not the expected one',
      );
    }
    return this.#next;
  }

  /** What happened, as the end of a sentence that begins with "it". */
  summary(): string {
    const { thrown } = this.#attempt;
    if (thrown) return `threw ${nameOfError(thrown.error)}`;
    return `recorded ${listed(this.#recorded.map(({ type }) => type))}`;
  }

  /** Only this may follow a check, so that a test which returns the chain does not return something with a `then`. */
  get #next(): ThenState<unknown, unknown> {
    return { thenState: (expected) => this.state(expected) };
  }

  #mustNotHaveThrown(expectation: string): void {
    const { thrown } = this.#attempt;
    if (thrown) fail(`Expected it to ${expectation}, but it threw ${shownError(thrown.error)}`, thrown.error);
  }
}

/** Whether an error is the expected one. */
export function matches(error: unknown, expected: ExpectedError): boolean {
  if (expected instanceof RegExp) return expected.test(messageOf(error));
  return isErrorClass(expected) ? error instanceof expected : expected(error);
}

function isErrorClass(expected: unknown): expected is abstract new (...args: never[]) => Error {
  return typeof expected === 'function' && (expected === Error || expected.prototype instanceof Error);
}

function isCheck(expected: unknown): expected is (state: unknown) => unknown {
  return typeof expected === 'function';
}

/** Of an aggregate's properties those that are expected, so that a failure shows no others. */
function picked(aggregate: Aggregate, expected: unknown): unknown {
  if (typeof expected !== 'object' || expected === null) return aggregate;
  return Object.fromEntries(Object.keys(expected).map((name) => [name, Reflect.get(aggregate, name)]));
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'nothing' : names.join(', ');
}
