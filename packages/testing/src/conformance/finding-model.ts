import type { DocumentPage, DocumentQuery, Generation, StateStore } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { COUNTERS, createCounting } from './read-models.js';

/** What the documents of the suite are found by. */
export const INDEXES = {
  status: 'string',
  total: 'number',
  open: 'boolean',
  'customer.city': 'string',
} as const;

/** Strings whose order by UTF-16 units, or by the rules of a language, is not that of their code points. */
export const TEXTS = [
  '',
  'A',
  'Z',
  'a',
  'ab',
  'b',
  'é',
  'e\u0301',
  '\u{10000}',
  '\uffff',
  '\ue000',
  '😀',
  '10',
  '9',
  "'",
  '\\"',
];

/** Numbers that a careless conversion changes or confuses. */
export const NUMBERS = [
  0,
  -1,
  1,
  1.5,
  9,
  10,
  1e21,
  -1e-7,
  0.1,
  0.2,
  0.1 + 0.2,
  2 ** 53,
  2 ** 62,
  5e-324,
  1.7e308,
];

/** A document with its key. */
export type Entry = readonly [key: string, document: unknown];

/** A generation whose documents can be found by `INDEXES`. */
export function createIndexed(
  store: StateStore,
  options: Partial<Parameters<StateStore['createGeneration']>[1]> = {},
): Promise<Generation> {
  const collections = [{ name: COUNTERS, kind: 'documents', indexes: INDEXES }] as const;
  return createCounting(store, { collections, ...options });
}

/** What a store finds. */
export function pageOf(store: StateStore, query?: DocumentQuery): Promise<DocumentPage> {
  return store.documents(COUNTERS, INDEXES).find(query);
}

/** The keys of what a store finds. */
export async function keysOf(store: StateStore, query?: DocumentQuery): Promise<string[]> {
  return (await pageOf(store, query)).entries.map(([key]) => key);
}

/** All pages of a query, none of which may be empty or longer than the limit. */
export async function pages(store: StateStore, query: DocumentQuery): Promise<Entry[]> {
  const all: Entry[] = [];
  for (let after: string | undefined; ;) {
    const { entries, next } = await pageOf(store, { ...query, after });
    assert.isAtMost(entries.length, query.limit ?? Infinity);
    all.push(...entries);
    if (next === undefined) return all;
    assert.isNotEmpty(entries);
    after = next;
  }
}

/** Puts documents in the place of all that are there. */
export async function replaceAll(
  store: StateStore,
  { generation }: Generation,
  documents: ReadonlyMap<string, unknown>,
): Promise<void> {
  const before: string[] = [];
  for await (const [key] of store.documents(COUNTERS).entries()) before.push(key);
  await store.transaction(async (unit) => {
    await unit.documents(COUNTERS, generation).deleteMany(before);
    await unit.documents(COUNTERS, generation).putMany(documents);
  });
}

/** Text that no compression makes shorter. */
export function randomText(length: number): string {
  let text = '';
  while (text.length < length) text += Math.random().toString(36).slice(2);
  return text.slice(0, length);
}

const text = fc.oneof(
  fc.constantFrom(...TEXTS),
  fc.string({ unit: 'grapheme', maxLength: 3 }).filter((one) => !one.includes('\0')),
);
const number = fc.oneof(
  fc.constantFrom(...NUMBERS),
  fc.integer({ min: -2, max: 2 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const odd = fc.constantFrom(null, 'a', 1, true, [], ['a'], [1], {}, { city: 1 }, 'x'.repeat(1001));
const mostly = <Value>(usual: fc.Arbitrary<Value>): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: usual, weight: 8 }, { arbitrary: odd, weight: 1 });

/** Documents by key, of which most have the fields, with values of their types. */
export const DOCUMENTS = fc
  .array(
    fc.tuple(
      text.filter((key) => key !== ''),
      fc.record(
        {
          status: mostly(text),
          total: mostly(number),
          open: mostly(fc.boolean()),
          customer: mostly(fc.record({ city: mostly(text) })),
        },
        { requiredKeys: [] },
      ),
    ),
    { maxLength: 20 },
  )
  // What is read back is JSON: without -0.
  .map((entries) => new Map(JSON.parse(JSON.stringify(entries)) as [string, unknown][]));

const conditionOn = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<object | Value> =>
  fc.oneof(
    value,
    fc.record({ in: fc.array(value, { maxLength: 4 }) }),
    fc
      .record({ gt: value, gte: value, lt: value, lte: value }, { requiredKeys: [] })
      .filter((one) => Object.keys(one).length > 0),
  );

/** Queries that use the values of the documents. */
export const QUERY = fc.record(
  {
    where: fc.record(
      {
        status: conditionOn(text),
        total: conditionOn(number),
        open: conditionOn(fc.boolean()),
        'customer.city': conditionOn(text),
      },
      { requiredKeys: [] },
    ),
    orderBy: fc.constantFrom(...(Object.keys(INDEXES) as (keyof typeof INDEXES)[])),
    direction: fc.constantFrom('forward' as const, 'backward' as const),
    limit: fc.integer({ min: 1, max: 5 }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<DocumentQuery<unknown, typeof INDEXES>>;

/** What `find` must give, by the words of its documentation and in no other way than JavaScript's own. */
export function filteredAndSorted(
  documents: ReadonlyMap<string, unknown>,
  { where = {}, orderBy, direction }: DocumentQuery<unknown, typeof INDEXES>,
): Entry[] {
  const valueOf = ([, document]: Entry, field: string): unknown => {
    const [first = '', second] = field.split('.');
    const outer = (document as Record<string, unknown>)[first];
    if (second === undefined) return outer;
    return typeof outer === 'object' && outer !== null
      ? (outer as Record<string, unknown>)[second]
      : undefined;
  };
  const has = (entry: Entry, field: keyof typeof INDEXES): boolean => {
    const value = valueOf(entry, field);
    return typeof value === INDEXES[field] && !(typeof value === 'string' && Buffer.byteLength(value) > 1000);
  };
  const found = [...documents].filter((entry) =>
    (Object.entries(where) as [keyof typeof INDEXES, unknown][]).every(
      ([field, condition]) => has(entry, field) && holds(valueOf(entry, field), condition),
    ),
  );
  const ordered = orderBy === undefined ? found : found.filter((entry) => has(entry, orderBy));
  ordered.sort(
    (a, b) =>
      (orderBy === undefined ? 0 : compare(valueOf(a, orderBy), valueOf(b, orderBy))) || compare(a[0], b[0]),
  );
  return direction === 'backward' ? ordered.reverse() : ordered;
}

function holds(value: unknown, condition: unknown): boolean {
  if (typeof condition !== 'object' || condition === null) return compare(value, condition) === 0;
  return (Object.entries(condition) as [string, unknown][]).every(([operator, other]) => {
    if (operator === 'in') return (other as unknown[]).some((one) => compare(value, one) === 0);
    const difference = compare(value, other);
    if (difference === 0) return operator.endsWith('e');
    return operator.startsWith('g') === difference > 0;
  });
}

/** Of two values of one type. */
function compare(a: unknown, b: unknown): number {
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string));
  return Number(a) < Number(b) ? -1 : Number(a) > Number(b) ? 1 : 0;
}
