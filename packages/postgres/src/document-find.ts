import {
  InvalidArgumentError,
  MAX_INDEXED_BYTES,
  type FieldTest,
  type FindPlan,
  type IndexedField,
  type IndexedValue,
} from '@refold/core';
import { plainArray, textArray } from './arrays.js';

/**
 * What a document holds in a field, null where that is nothing of the index's type: it fails on no document. The index is
 * on this very expression; PostgreSQL uses it only for queries that have the same.
 */
export function fieldExpression({ path, type }: IndexedField): string {
  const at = `'{${path.join(',')}}'`;
  switch (type) {
    case 'string':
      return `case when jsonb_typeof(document #> ${at}) = 'string' and octet_length(document #>> ${at}) <= ${MAX_INDEXED_BYTES} then document #>> ${at} end collate "C"`;
    case 'number':
      return `case when jsonb_typeof(document #> ${at}) = 'number' then (document #> ${at})::numeric end`;
    case 'boolean':
      return `case when jsonb_typeof(document #> ${at}) = 'boolean' then (document #> ${at})::boolean::integer end`;
  }
}

/** The statement that finds the documents of a view, in the query's order, and one more than its limit if there are. */
export function findStatement(
  view: string,
  { tests, order, direction, limit, after }: FindPlan,
): { readonly sql: string; readonly values: readonly string[] } {
  const values: string[] = [];
  const bound = (value: string, type: string): string => `$${values.push(value)}::${type}`;
  const [further, descending] = direction === 'forward' ? ['>', ''] : ['<', ' desc'];
  const conditions = tests.map((test) => conditionOf(test, bound));
  const field = order && `(${fieldExpression(order)})`;
  if (field !== undefined) conditions.push(`${field} is not null`);
  if (order && after?.value !== undefined) {
    const place = [bound(literal(after.value), TYPES[order.type]), bound(literal(after.key), 'text')];
    conditions.push(`(${field}, key) ${further} (${place.join(', ')})`);
  } else if (after) {
    conditions.push(`key ${further} ${bound(literal(after.key), 'text')}`);
  }
  const orderBy = field === undefined ? `key${descending}` : `${field}${descending}, key${descending}`;
  const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`;
  const atMost = limit === Infinity ? '' : `limit ${bound(String(limit + 1), 'bigint')}`;
  return {
    sql: `select key, document::text as document from ${view} ${where} order by ${orderBy} ${atMost}`,
    values,
  };
}

const TYPES = { string: 'text', number: 'numeric', boolean: 'integer' } as const;

function conditionOf(test: FieldTest, bound: (value: string, type: string) => string): string {
  const type = TYPES[test.field.type];
  const field = `(${fieldExpression(test.field)})`;
  if (test.operator !== 'in') return `${field} ${test.operator} ${bound(literal(test.value), type)}`;
  const literals = test.values.map(literal);
  return `${field} = any(${bound(type === 'text' ? textArray(literals) : plainArray(literals), `${type}[]`)})`;
}

/** @throws InvalidArgumentError for text that PostgreSQL cannot hold, so that no document has it */
function literal(value: IndexedValue): string {
  if (typeof value !== 'string') return String(Number(value));
  if (value.includes('\0') || NOT_UNICODE.test(value)) {
    throw new InvalidArgumentError('query', value, 'must be text without NUL and lone surrogates');
  }
  return value;
}

const NOT_UNICODE = /\p{Surrogate}/u;
