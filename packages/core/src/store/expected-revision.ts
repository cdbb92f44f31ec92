import { RevisionConflictError } from '../errors.js';
import type { ExpectedRevision } from './event-store.js';

/** The conflict of an append that expects something else of its stream than the revision it is at; -1 for no stream. */
export function conflictOf(
  stream: string,
  expected: ExpectedRevision,
  actual: number,
): RevisionConflictError | undefined {
  if (expected === 'any' || holds(expected, actual)) return undefined;
  return new RevisionConflictError(stream, expected, actual);
}

function holds(expected: Exclude<ExpectedRevision, 'any'>, actual: number): boolean {
  if (expected === 'no-stream') return actual < 0;
  return expected === 'stream-exists' ? actual >= 0 : actual === expected;
}
