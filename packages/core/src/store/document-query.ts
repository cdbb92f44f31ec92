import type { Direction } from './event-store.js';

/** The JSON types by which documents can be found. */
export type IndexType = 'string' | 'number' | 'boolean';

/** Declared indexes: each field of a document, as a dotted path of names such as `customer.city`, with its type. */
export type Indexes = Readonly<Record<string, IndexType>>;

/** No index is declared. */
export type NoIndexes = Readonly<Record<string, never>>;

/** Which indexes may be declared on a document, as far as its type says: fields that it has, with the types they have. */
export type IndexesOn<Doc, Fields> = { readonly [Field in keyof Fields]: TypeName<FieldOf<Doc, Field>> };

/** A value that the field must equal, or a comparison that it must pass. */
export type FieldCondition<Value> = [Value] extends [never] ? never : Value | Comparison<Value>;

/** Everything that is given must hold. */
export interface Comparison<Value> {
  readonly in?: readonly Value[];
  readonly gt?: Value;
  readonly gte?: Value;
  readonly lt?: Value;
  readonly lte?: Value;
}

/**
 * Which documents `find` gives, and in which order. Only declared fields may be named. A document that lacks a named
 * field, holds another type there, or a string of more than 1,000 bytes of UTF-8, is not found.
 */
export interface DocumentQuery<Doc = unknown, Fields extends Indexes = Indexes> {
  /** All of these must hold. Default: every document. */
  readonly where?: {
    readonly [Field in keyof Fields]?: FieldCondition<ValueOf<Doc, Field, Fields[Field]>>;
  };
  /**
   * The field to order by; where values are equal, and without it, the key decides. Strings and keys are ordered by code
   * point, false comes before true.
   */
  readonly orderBy?: FieldName<Fields>;
  /** Default `'forward'`; `'backward'` is the exact reverse. */
  readonly direction?: Direction;
  /** How many documents at most, from 1. Default: all. */
  readonly limit?: number;
  /** The `next` of the page before, found by the same `where`, `orderBy` and `direction`. */
  readonly after?: string;
}

/** What `find` has found, as of one moment. What it holds are copies. */
export interface DocumentPage<Doc = unknown> {
  /** The documents with their keys, in the order asked for. */
  readonly entries: readonly (readonly [key: string, document: Doc])[];
  /**
   * Where the following page begins, to be given as `after`; absent where there is none. It stands for a value and a key,
   * so it stays exact when documents come, go or change meanwhile.
   */
  readonly next?: string;
}

/** The names of declared fields. */
type FieldName<Fields> = keyof {
  [Field in keyof Fields as [Fields[Field]] extends [never] ? never : Field]: unknown;
} &
  string;

/** What the document holds in a field, as far as its type says; else whatever the index is of. */
type ValueOf<Doc, Field, Type extends IndexType> = [Extract<FieldOf<Doc, Field>, Primitive<Type>>] extends [
  never,
]
  ? Primitive<Type>
  : Extract<FieldOf<Doc, Field>, Primitive<Type>>;

/** The type of a dotted path in a document; `never` where it has no such field, `unknown` where its type does not tell. */
type FieldOf<Doc, Field> = Field extends `${infer First}.${infer Rest}`
  ? FieldOf<PropertyOf<Doc, First>, Rest>
  : PropertyOf<Doc, Field>;

type PropertyOf<Doc, Name> = unknown extends Doc
  ? unknown
  : Doc extends unknown
    ? Name extends keyof Doc
      ? Doc[Name]
      : never
    : never;

type TypeName<Value> = unknown extends Value
  ? IndexType
  : Value extends string
    ? 'string'
    : Value extends number
      ? 'number'
      : Value extends boolean
        ? 'boolean'
        : never;

type Primitive<Type extends IndexType> = Type extends 'string'
  ? string
  : Type extends 'number'
    ? number
    : Type extends 'boolean'
      ? boolean
      : never;
