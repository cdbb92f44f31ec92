import { createHash } from 'node:crypto';
import { DefinitionError } from '../errors.js';
import type { Indexes, IndexType } from './document-query.js';

/** A declared field of documents. */
export interface IndexedField {
  /** The dotted path, as it was declared. */
  readonly name: string;
  readonly path: readonly string[];
  readonly type: IndexType;
}

/** What an index holds of a document. */
export type IndexedValue = string | number | boolean;

/** Databases bound what fits into an index; a longer string, in bytes of UTF-8, counts as if it were not there. */
export const MAX_INDEXED_BYTES = 1000;

const PATH = /^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$/i;

const TYPES: ReadonlySet<string> = new Set<IndexType>(['string', 'number', 'boolean']);

/** The declared fields, checked. @throws DefinitionError about the subject, for a bad path or type */
export function indexedFields(subject: string, indexes: Indexes = {}): IndexedField[] {
  return Object.entries(indexes).map(([name, type]) => {
    if (!PATH.test(name)) {
      throw new DefinitionError(
        subject,
        `the index on ${JSON.stringify(name)} must name a field: letters, digits and underscores, with dots between nested names`,
      );
    }
    if (!TYPES.has(type)) {
      throw new DefinitionError(
        subject,
        `the index on "${name}" must be of 'string', 'number' or 'boolean', got ${String(type)}`,
      );
    }
    return { name, path: name.split('.'), type };
  });
}

/** What a document, parsed from JSON, holds in a field; undefined where that is nothing of the index's type. */
export function indexedValue(document: unknown, { path, type }: IndexedField): IndexedValue | undefined {
  let value = document;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    if (!Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  if (typeof value === 'string') {
    return type === 'string' && Buffer.byteLength(value) <= MAX_INDEXED_BYTES ? value : undefined;
  }
  return typeof value === type && (typeof value === 'number' || typeof value === 'boolean')
    ? value
    : undefined;
}

/** Tells the names of `indexName` from all others. */
export const INDEX_NAME = /^refold_[0-9a-f]{12}_/;

/** A name for the index on one field of one table: 63 ASCII characters at most, and no other field or table gets it. */
export function indexName(table: string, { name, path, type }: IndexedField): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([table, name, type]))
    .digest('hex')
    .slice(0, 12);
  return `refold_${hash}_${table}_${path.join('_')}`.slice(0, 63);
}

/** What a worker is told that finds a build with other indexes than its code declares. */
export function changedIndexes(collection: string): DefinitionError {
  return new DefinitionError(
    `Read model "${collection}"`,
    'its indexes are not those that this version of it was built with: give the projection a higher version, or rebuild it',
  );
}
