import type { DataOf, EventType } from '../events/event-type.js';
import type { Indexes, IndexesOn, NoIndexes } from '../store/document-query.js';
import type { RecordedEvent } from '../store/event-store.js';
import { indexedFields } from '../store/indexes.js';
import type { Collection, DocumentAccess, StateUnit } from '../store/state-store.js';
import type { ErrorPolicy } from './error-policy.js';
import { HandlerError, type ProcessorMode, type TransactionalHandler } from './processor.js';
import {
  checkProcessor,
  streamIdKey,
  withHandler,
  type DocumentKey,
  type Fold,
  type Projection,
  type ProjectionOptions,
  type SequenceKey,
} from './projection.js';

/** What can be said of a document projection beside its name. */
export interface DocumentProjectionOptions<Doc, Fields extends Indexes = Indexes> extends ProjectionOptions {
  /** A new document, before its first event. */
  readonly initial: (key: string) => Doc;
  /** The document of an event, unless its handler says otherwise. Default: the id of the event's stream. */
  readonly key?: DocumentKey<unknown>;
  /**
   * The sequence of an event. Events of one document must be of one sequence, so it only needs to be said where an event
   * goes into several documents. Default: the document.
   */
  readonly sequence?: SequenceKey;
  /**
   * The fields by which documents can be found and ordered, as dotted paths with their types. To change them takes a
   * higher version.
   */
  readonly indexes?: Fields;
}

interface DocumentHandler<Doc> {
  readonly fold: Fold<Doc, unknown>;
  readonly key: DocumentKey<unknown>;
}

/**
 * A read model of keyed JSON documents, folded. Its handlers are pure: they see an event and a document, and nothing
 * else. A batch loads the documents it touches in one query, folds in memory, and writes them with the checkpoint in one
 * transaction. Every `on` returns a new projection; nothing is changed in place.
 */
export class DocumentProjection<Doc, Fields extends Indexes = Indexes> implements Projection {
  readonly name: string;
  readonly version: number;
  readonly mode: ProcessorMode;
  readonly guarantee = 'exactlyOnce';
  readonly partitions: number;
  readonly errors: ErrorPolicy;
  readonly eventTypes: readonly EventType[];
  readonly collections: readonly Collection[];
  /** The fields by which its documents can be found; undefined if none is declared. */
  readonly indexes: Fields | undefined;
  readonly #options: DocumentProjectionOptions<Doc, Fields>;
  readonly #handlers: ReadonlyMap<string, DocumentHandler<Doc>>;

  constructor(
    name: string,
    options: DocumentProjectionOptions<Doc, Fields>,
    eventTypes: readonly EventType[] = [],
    handlers: ReadonlyMap<string, DocumentHandler<Doc>> = new Map(),
  ) {
    // A fold that fails would fail again: it sees nothing but the event and the document.
    const checked = checkProcessor(subjectOf(name), name, options, { onError: 'stop', maxAttempts: 1 });
    this.name = checked.name;
    this.version = checked.version;
    this.mode = checked.mode;
    this.partitions = checked.partitions;
    this.errors = checked.errors;
    this.eventTypes = eventTypes;
    indexedFields(subjectOf(name), options.indexes);
    this.collections = [{ name, kind: 'documents', indexes: options.indexes }];
    this.indexes = options.indexes;
    this.#options = options;
    this.#handlers = handlers;
  }

  /** Folds events of a type. @throws DefinitionError if the type has a handler already */
  on<T extends EventType>(
    type: T,
    fold: Fold<Doc, DataOf<T>>,
    options: { readonly key?: DocumentKey<DataOf<T>> } = {},
  ): DocumentProjection<Doc, Fields> {
    const key = options.key ?? this.#options.key ?? streamIdKey;
    // The codec hands this handler only events of its type: the map cannot say so.
    const handler = { fold, key } as DocumentHandler<Doc>;
    const handlers = withHandler(subjectOf(this.name), this.#handlers, type, handler);
    return new DocumentProjection(this.name, this.#options, [...this.eventTypes, type], handlers);
  }

  /** @internal */
  sequenceOf(event: RecordedEvent): string | undefined {
    if (this.#options.sequence) return this.#options.sequence(event);
    const key = checkedKey(this.#handlers.get(event.type)?.key(event));
    if (key === undefined || typeof key === 'string') return key ?? event.stream;
    return key.length > 1 ? undefined : (key[0] ?? event.stream);
  }

  /** @internal */
  handler(generation: number): TransactionalHandler {
    return new DocumentFolding(this.name, generation, this.#options.initial, this.#handlers);
  }
}

/**
 * Declares a document projection:
 * `documentProjection('balances', { initial: () => ({ total: 0 }) }).on(Deposited, (doc, { data }) => …)`.
 * @throws DefinitionError for a bad name, version, mode or index
 */
export function documentProjection<Doc, Fields extends Indexes = NoIndexes>(
  name: string,
  options: DocumentProjectionOptions<Doc, Fields> & { readonly indexes?: IndexesOn<Doc, Fields> },
): DocumentProjection<Doc, Fields> {
  return new DocumentProjection<Doc, Fields>(name, options);
}

/** Documents kept from one batch to the next, so that only cold ones are read. */
const WARM_DOCUMENTS = 20_000;

/** Folds batches of one generation; the documents of its last batches stay in memory while their lease does. */
class DocumentFolding<Doc> implements TransactionalHandler {
  readonly #collection: string;
  readonly #generation: number;
  readonly #initial: (key: string) => Doc;
  readonly #handlers: ReadonlyMap<string, DocumentHandler<Doc>>;
  /** Folds are fast, and done before the transaction. */
  readonly firstBatch = Infinity;
  /** Committed documents by key; null for one known not to exist. */
  #warm = new Map<string, Doc | null>();

  constructor(
    collection: string,
    generation: number,
    initial: (key: string) => Doc,
    handlers: ReadonlyMap<string, DocumentHandler<Doc>>,
  ) {
    this.#collection = collection;
    this.#generation = generation;
    this.#initial = initial;
    this.#handlers = handlers;
  }

  async prepare(
    events: readonly RecordedEvent[],
    committed: (collection: string) => Pick<DocumentAccess, 'getMany'>,
  ): Promise<(unit: StateUnit) => Promise<void>> {
    const keys = this.#keysOf(events);
    const touched = await this.#load(keys, committed(this.#collection));
    this.#fold(events, keys, touched);
    return (unit) => this.#write(unit, touched);
  }

  reset(): void {
    this.#warm.clear();
  }

  #keysOf(events: readonly RecordedEvent[]): (string | readonly string[] | undefined)[] {
    return events.map((event) => {
      const handler = this.#handlers.get(event.type);
      try {
        return handler && checkedKey(handler.key(event));
      } catch (cause) {
        throw new HandlerError(event, cause);
      }
    });
  }

  async #load(
    keys: readonly (string | readonly string[] | undefined)[],
    committed: Pick<DocumentAccess, 'getMany'>,
  ): Promise<Map<string, Doc | null>> {
    const touched = new Map<string, Doc | null>();
    const cold = new Set<string>();
    for (const key of keys) {
      for (const one of typeof key === 'string' ? [key] : (key ?? [])) {
        if (touched.has(one)) continue;
        const warm = this.#warm.get(one);
        if (warm === undefined) cold.add(one);
        touched.set(one, warm ?? null);
      }
    }
    if (cold.size > 0) {
      for (const [key, document] of await committed.getMany([...cold])) touched.set(key, document as Doc);
    }
    return touched;
  }

  #fold(
    events: readonly RecordedEvent[],
    keys: readonly (string | readonly string[] | undefined)[],
    documents: Map<string, Doc | null>,
  ): void {
    events.forEach((event, index) => {
      const key = keys[index];
      const handler = this.#handlers.get(event.type);
      if (key === undefined || !handler) return;
      try {
        if (typeof key === 'string') this.#foldOne(event, key, handler.fold, documents);
        else for (const one of key) this.#foldOne(event, one, handler.fold, documents);
      } catch (cause) {
        throw new HandlerError(event, cause);
      }
    });
  }

  #foldOne(
    event: RecordedEvent,
    key: string,
    fold: Fold<Doc, unknown>,
    documents: Map<string, Doc | null>,
  ): void {
    const before = documents.get(key) ?? this.#initial(key);
    const after = fold(before, event);
    documents.set(key, after === undefined ? before : after);
  }

  async #write(unit: StateUnit, touched: Map<string, Doc | null>): Promise<void> {
    const access = unit.documents(this.#collection, this.#generation);
    const kept = new Map<string, unknown>();
    const gone: string[] = [];
    for (const [key, document] of touched) {
      if (document === null) gone.push(key);
      else kept.set(key, document);
    }
    if (kept.size > 0) await access.putMany(kept);
    if (gone.length > 0) await access.deleteMany(gone);
    this.#keepWarm(touched);
  }

  #keepWarm(touched: Map<string, Doc | null>): void {
    if (this.#warm.size + touched.size > WARM_DOCUMENTS) this.#warm = new Map();
    if (touched.size > WARM_DOCUMENTS) return;
    for (const [key, document] of touched) this.#warm.set(key, document);
  }
}

function subjectOf(name: unknown): string {
  return `Projection ${JSON.stringify(name)}`;
}

function checkedKey(key: unknown): string | readonly string[] | undefined {
  if (key === undefined || (typeof key === 'string' && key !== '')) return key;
  if (Array.isArray(key) && key.every((one) => typeof one === 'string' && one !== '')) return key as string[];
  throw new TypeError(
    `The key of a document must be a non-empty string, an array of them or undefined, got ${JSON.stringify(key)}`,
  );
}
