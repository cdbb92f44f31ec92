import { AssertionError, deepStrictEqual } from 'node:assert';
import { inspect } from 'node:util';

/** Fails the test. `cause` is the error that led to it, if one did. */
export function fail(message: string, cause?: unknown): never {
  const failure = new AssertionError({ message, stackStartFn: fail });
  if (cause !== undefined) failure.cause = cause;
  throw failure;
}

/** Compares deeply; a failure says what was compared and how the two differ. */
export function expectEqual(actual: unknown, expected: unknown, subject: string): void {
  try {
    deepStrictEqual(actual, expected);
  } catch (error) {
    if (!(error instanceof AssertionError)) throw error;
    const message = `${subject}:\n${differenceIn(error.message)}`;
    const failure = new AssertionError({ message, actual, expected, stackStartFn: expectEqual });
    // The message holds the difference for every runner; mocha would show it once more.
    throw Object.assign(failure, { showDiff: false });
  }
}

/** A value on one line, for messages. */
export function shown(value: unknown): string {
  return inspect(value, { depth: 4, breakLength: Infinity, compact: true });
}

/** An error as `Class: message`. */
export function shownError(error: unknown): string {
  return error instanceof Error ? `${nameOfError(error)}: ${error.message}` : shown(error);
}

/** The class of an error: few set their `name`. */
export function nameOfError(error: unknown): string {
  return error instanceof Error ? error.constructor.name : shown(error);
}

/** node:assert begins with a heading of its own, which the subject replaces. */
function differenceIn(message: string): string {
  return message.replace(/^Expected values to be strictly deep-equal:\n/, '');
}
