import type { FieldTest, FindPlan } from '../store/find-plan.js';
import { compareText } from '../store/text-order.js';
import { indexedValue, type IndexedValue } from '../store/indexes.js';

interface Candidate {
  readonly key: string;
  readonly document: unknown;
  /** What the query orders by; undefined if that is the key alone. */
  readonly value: IndexedValue | undefined;
}

/** The documents that a query asks for, in its order, and one more than its limit if there are. */
export function findAmong(
  entries: Iterable<readonly [key: string, json: string]>,
  { tests, order, direction, limit, after }: FindPlan,
): [key: string, document: unknown][] {
  const sign = direction === 'forward' ? 1 : -1;
  const found: Candidate[] = [];
  for (const [key, json] of entries) {
    const document: unknown = JSON.parse(json);
    const value = order && indexedValue(document, order);
    if (order && value === undefined) continue;
    if (after && sign * compareCandidates({ key, value }, after) <= 0) continue;
    if (tests.every((test) => passes(document, test))) found.push({ key, document, value });
  }
  return found
    .sort((a, b) => sign * compareCandidates(a, b))
    .slice(0, limit + 1)
    .map(({ key, document }) => [key, document]);
}

function passes(document: unknown, test: FieldTest): boolean {
  const value = indexedValue(document, test.field);
  if (value === undefined) return false;
  if (test.operator === 'in') return test.values.includes(value);
  const difference = compareValues(value, test.value);
  switch (test.operator) {
    case '=':
      return difference === 0;
    case '>':
      return difference > 0;
    case '>=':
      return difference >= 0;
    case '<':
      return difference < 0;
    case '<=':
      return difference <= 0;
  }
}

function compareCandidates(a: Omit<Candidate, 'document'>, b: Omit<Candidate, 'document'>): number {
  const difference = a.value === undefined || b.value === undefined ? 0 : compareValues(a.value, b.value);
  return difference || compareText(a.key, b.key);
}

/** Both are of one type. */
function compareValues(a: IndexedValue, b: IndexedValue): number {
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}
