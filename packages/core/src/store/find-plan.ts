import { InvalidArgumentError, NotIndexedError } from '../errors.js';
import type { DocumentPage, DocumentQuery, Indexes } from './document-query.js';
import type { Direction } from './event-store.js';
import { indexedFields, indexedValue, type IndexedField, type IndexedValue } from './indexes.js';

/** One thing that a document's field must be. */
export type FieldTest =
  | { readonly field: IndexedField; readonly operator: ComparisonOperator; readonly value: IndexedValue }
  | { readonly field: IndexedField; readonly operator: 'in'; readonly values: readonly IndexedValue[] };

/** How a field is compared with a value. */
export type ComparisonOperator = '=' | '>' | '>=' | '<' | '<=';

/** A checked query. */
export interface FindPlan {
  /** All must hold. */
  readonly tests: readonly FieldTest[];
  /** The field to order by, before the key; undefined to order by the key alone. */
  readonly order: IndexedField | undefined;
  readonly direction: Direction;
  /** `Infinity` for no limit. */
  readonly limit: number;
  /** The place behind which to begin; its value is one of `order`. */
  readonly after: { readonly value: IndexedValue | undefined; readonly key: string } | undefined;
}

/**
 * Checks a query against the indexes of a collection, so that every adapter refuses the same ones.
 * @throws NotIndexedError, InvalidArgumentError
 */
export function findPlan(collection: string, indexes: Indexes, query: DocumentQuery = {}): FindPlan {
  const { where = {}, orderBy, direction = 'forward', limit = Infinity, after } = query;
  const declared = indexedFields(`Read model "${collection}"`, indexes);
  const fieldOf = (name: string): IndexedField => {
    const field = declared.find((one) => one.name === name);
    if (field) return field;
    throw new NotIndexedError(
      collection,
      name,
      declared.map((one) => one.name),
    );
  };
  if (direction !== 'forward' && direction !== 'backward') {
    throw new InvalidArgumentError('direction', direction, "must be 'forward' or 'backward'");
  }
  if (limit !== Infinity && !(Number.isSafeInteger(limit) && limit >= 1)) {
    throw new InvalidArgumentError('limit', limit, 'must be a whole number from 1');
  }
  const tests = Object.entries(where).flatMap(([name, condition]) => testsOf(fieldOf(name), condition));
  const order = orderBy === undefined ? undefined : fieldOf(orderBy);
  return { tests, order, direction, limit, after: after === undefined ? undefined : placeOf(after, order) };
}

/** The page of what a store has found: up to one document more than the limit, which tells whether there is more. */
export function pageOf(
  { order, limit }: FindPlan,
  found: readonly (readonly [key: string, document: unknown])[],
): DocumentPage {
  const entries = found.slice(0, limit);
  const last = entries.at(-1);
  if (found.length === entries.length || !last) return { entries };
  const [key, document] = last;
  const place = order ? [order.name, indexedValue(document, order), key] : [key];
  return { entries, next: Buffer.from(JSON.stringify(place)).toString('base64url') };
}

const OPERATORS: Readonly<Record<string, ComparisonOperator>> = { gt: '>', gte: '>=', lt: '<', lte: '<=' };

function testsOf(field: IndexedField, condition: unknown): FieldTest[] {
  const argument = `where.${field.name}`;
  if (typeof condition !== 'object' || condition === null) {
    return [{ field, operator: '=', value: checkedValue(argument, field, condition) }];
  }
  const comparisons = Object.entries(condition);
  if (comparisons.length === 0 || Array.isArray(condition)) {
    throw new InvalidArgumentError(
      argument,
      condition,
      'must be a value, or compare by in, gt, gte, lt or lte',
    );
  }
  return comparisons.map(([name, value]: [string, unknown]) => {
    if (name === 'in')
      return { field, operator: 'in', values: checkedValues(`${argument}.in`, field, value) };
    const operator = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
    if (!operator) throw new InvalidArgumentError(argument, name, 'must compare by in, gt, gte, lt or lte');
    return { field, operator, value: checkedValue(`${argument}.${name}`, field, value) };
  });
}

function checkedValues(argument: string, field: IndexedField, values: unknown): IndexedValue[] {
  if (!Array.isArray(values)) throw new InvalidArgumentError(argument, values, 'must be an array of values');
  return values.map((value) => checkedValue(argument, field, value));
}

/** An undefined value is refused too: to leave its condition out would find more than was asked for. */
function checkedValue(argument: string, { type }: IndexedField, value: unknown): IndexedValue {
  if (isOf(type, value)) return value;
  throw new InvalidArgumentError(argument, value, `must be a ${type === 'number' ? 'finite number' : type}`);
}

function isOf(type: IndexedField['type'], value: unknown): value is IndexedValue {
  return typeof value === type && (typeof value !== 'number' || Number.isFinite(value));
}

function placeOf(after: string, order: IndexedField | undefined): FindPlan['after'] {
  const place = parsed(after);
  const key: unknown = place.at(-1);
  if (typeof key === 'string' && key !== '') {
    if (!order && place.length === 1) return { key, value: undefined };
    if (order && place.length === 3 && place[0] === order.name && isOf(order.type, place[1]))
      return { key, value: place[1] };
  }
  throw new InvalidArgumentError('after', after, 'must be the "next" of a page in the same order');
}

function parsed(after: string): readonly unknown[] {
  try {
    const place: unknown = JSON.parse(Buffer.from(after, 'base64url').toString());
    return Array.isArray(place) ? place : [];
  } catch {
    return [];
  }
}
