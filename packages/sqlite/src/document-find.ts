import {
  MAX_INDEXED_BYTES,
  type FieldTest,
  type FindPlan,
  type IndexedField,
  type IndexedValue,
} from '@refold/core';
import type Database from 'better-sqlite3';
import type { Statements } from './statements.js';

/**
 * What a document holds in a field, null where that is nothing of the index's type. The index is on this very expression:
 * SQLite uses it only for queries that have the same.
 */
export function fieldExpression({ path, type }: IndexedField): string {
  const at = `document, '$.${path.join('.')}'`;
  switch (type) {
    case 'string':
      return `case when json_type(${at}) = 'text' and octet_length(json_extract(${at})) <= ${MAX_INDEXED_BYTES} then json_extract(${at}) end`;
    case 'number':
      return `case when json_type(${at}) in ('integer', 'real') then json_extract(${at}) end`;
    case 'boolean':
      return `case json_type(${at}) when 'true' then 1 when 'false' then 0 end`;
  }
}

type Found = readonly [key: string, document: unknown];

/** The documents of a view that a query asks for, in its order, and one more than its limit if there are. */
export function findDocuments(
  database: Database.Database,
  statements: Statements,
  view: string,
  plan: FindPlan,
): Found[] {
  const wanted = plan.limit + 1;
  const find = database.transaction(() => {
    const found: Found[] = [];
    for (const { sql, values } of selects(view, plan)) {
      const limit = wanted === Infinity ? -1 : wanted - found.length;
      const rows = statements.arrays(`${sql} limit ?`).all(...values, limit) as [string, string][];
      for (const [key, document] of rows) found.push([key, JSON.parse(document)]);
      if (found.length === wanted) break;
    }
    return found;
  });
  return find();
}

interface Select {
  readonly sql: string;
  readonly values: readonly string[];
}

/** Values go through JSON, as documents do, and so come out as the same SQL values to the last bit. */
const VALUE = "json_extract(?, '$')";

/**
 * The selects whose rows, one after the other, are the query's. Behind a place these are two, what has its value and what
 * is further: SQLite finds the beginning of each by the index, which it does not for a comparison of value and key at once.
 */
function selects(view: string, { tests, order, direction, after }: FindPlan): Select[] {
  const [further, descending] = direction === 'forward' ? ['>', ''] : ['<', ' desc'];
  const conditions = tests.map(conditionOf);
  const values = tests.map((test) => json(test.operator === 'in' ? test.values : test.value));
  const field = order && fieldExpression(order);
  if (field !== undefined) conditions.push(`${field} is not null`);
  const byKey = `key${descending}`;
  const inOrder = field === undefined ? byKey : `${field}${descending}, ${byKey}`;
  const select = (orderBy: string, place: readonly string[], ...more: string[]): Select => ({
    sql: `select key, document from ${view} ${where([...conditions, ...place])} order by ${orderBy}`,
    values: [...values, ...more],
  });
  if (!after) return [select(inOrder, [])];
  if (field === undefined || after.value === undefined)
    return [select(byKey, [`key ${further} ?`], after.key)];
  const value = json(after.value);
  return [
    // SQLite would sort by the value, though it is the same for all of these.
    select(byKey, [`${field} = ${VALUE}`, `key ${further} ?`], value, after.key),
    select(inOrder, [`${field} ${further} ${VALUE}`], value),
  ];
}

function conditionOf({ field, operator }: FieldTest): string {
  const value = operator === 'in' ? '(select value from json_each(?))' : VALUE;
  return `${fieldExpression(field)} ${operator} ${value}`;
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`;
}

function json(value: IndexedValue | readonly IndexedValue[]): string {
  return JSON.stringify(value);
}
