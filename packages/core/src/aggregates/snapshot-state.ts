import { DefinitionError } from '../errors.js';
import { classNameOf } from './aggregate.js';

/**
 * Refuses a value of an aggregate's state that JSON would change, where its name can be told, instead of letting it come
 * back as something else. `initial` is what a new aggregate has in its place, which a missing value would come back as.
 * @throws DefinitionError
 */
export function checkSnapshotValue(category: string, name: string, value: unknown, initial: unknown): void {
  const odd = value === undefined && initial !== undefined ? 'undefined' : oddValue(value);
  if (!odd) return;
  throw new DefinitionError(
    `Aggregate "${category}"`,
    `"${name}" holds ${odd}, which a snapshot cannot keep: use JSON values, class-transformer's @Type, or no snapshotEvery`,
  );
}

function oddValue(value: unknown): string | undefined {
  if (typeof value === 'function' || typeof value === 'bigint' || typeof value === 'symbol')
    return `a ${typeof value}`;
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value)) return value.includes(undefined) ? 'undefined in an array' : firstOdd(value);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return `a ${classNameOf(value.constructor)}`;
  return firstOdd(Object.values(value));
}

function firstOdd(values: readonly unknown[]): string | undefined {
  for (const value of values) {
    const odd = oddValue(value);
    if (odd) return odd;
  }
  return undefined;
}
