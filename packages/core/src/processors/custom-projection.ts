import { DefinitionError } from '../errors.js';
import type { DataOf, EventType } from '../events/event-type.js';
import { causedBy, withMetadata } from '../events/correlation.js';
import type { Indexes } from '../store/document-query.js';
import type { RecordedEvent } from '../store/event-store.js';
import { indexedFields } from '../store/indexes.js';
import type { Collection, StateUnit } from '../store/state-store.js';
import type { ErrorPolicy } from './error-policy.js';
import {
  HandlerError,
  type HandlingContext,
  type ProcessorMode,
  type TransactionalHandler,
} from './processor.js';
import {
  checkIdentifier,
  checkProcessor,
  replayContext,
  withHandler,
  type CustomHandler,
  type Projection,
  type ProjectionContext,
  type ProjectionOptions,
  type SequenceKey,
} from './projection.js';

/** What can be said of a custom projection beside its name. */
export interface CustomProjectionOptions extends ProjectionOptions {
  /** The sequence of an event. Default: its stream. */
  readonly sequence?: SequenceKey;
  /**
   * Document collections that the handlers write: their names, or each name with the fields by which its documents can be
   * found. To change those takes a higher version.
   */
  readonly documents?: readonly string[] | Readonly<Record<string, Indexes>>;
  /** Tables that the handlers write, for stores with SQL: the statements that create each, given its physical name. */
  readonly tables?: Readonly<Record<string, (table: string) => string | readonly string[]>>;
}

/**
 * A read model whose handlers write what they like with the store's transaction, which also moves the checkpoint: their
 * effects on it happen exactly once. Effects elsewhere happen at least once. Every `on` returns a new projection.
 */
export class CustomProjection<Unit extends StateUnit = StateUnit> implements Projection<Unit> {
  readonly name: string;
  readonly version: number;
  readonly mode: ProcessorMode;
  readonly guarantee = 'exactlyOnce';
  readonly partitions: number;
  readonly errors: ErrorPolicy;
  readonly eventTypes: readonly EventType[];
  readonly collections: readonly Collection[];
  readonly #options: CustomProjectionOptions;
  readonly #handlers: ReadonlyMap<string, CustomHandler<unknown, Unit>>;

  constructor(
    name: string,
    options: CustomProjectionOptions = {},
    eventTypes: readonly EventType[] = [],
    handlers: ReadonlyMap<string, CustomHandler<unknown, Unit>> = new Map(),
  ) {
    const subject = `Projection ${JSON.stringify(name)}`;
    const checked = checkProcessor(subject, name, options, { onError: 'stop', maxAttempts: 3 });
    this.name = checked.name;
    this.version = checked.version;
    this.mode = checked.mode;
    this.partitions = checked.partitions;
    this.errors = checked.errors;
    this.eventTypes = eventTypes;
    this.collections = collectionsOf(name, options);
    this.#options = options;
    this.#handlers = handlers;
  }

  /** Handles events of a type, one after the other. @throws DefinitionError if the type has a handler already */
  on<T extends EventType>(type: T, handler: CustomHandler<DataOf<T>, Unit>): CustomProjection<Unit> {
    // The codec hands this handler only events of its type: the map cannot say so.
    const handlers = withHandler(
      `Projection "${this.name}"`,
      this.#handlers,
      type,
      handler as CustomHandler<unknown, Unit>,
    );
    return new CustomProjection(this.name, this.#options, [...this.eventTypes, type], handlers);
  }

  /** @internal What was given to `on`. */
  get handlers(): readonly unknown[] {
    return [...this.#handlers.values()];
  }

  /** @internal */
  sequenceOf(event: RecordedEvent): string {
    return this.#options.sequence?.(event) ?? event.stream;
  }

  /** @internal */
  handler(generation: number): TransactionalHandler<Unit> {
    const handlers = this.#handlers;
    const collections = new Set(this.collections.map(({ name }) => name));
    const accessOf = (unit: Unit): Access<Unit> => ({
      unit,
      documents: (name) => unit.documents(owned(this.name, collections, name), generation),
      table: (name) => unit.table(owned(this.name, collections, name), generation),
    });
    return {
      prepare: (events, _, context) =>
        Promise.resolve((unit) => handleAll(events, handlers, accessOf(unit), context)),
      firstBatch: 100,
      reset: () => {},
    };
  }
}

/**
 * Declares a custom projection for any store; `sqlProjection` of a store package is the same with that store's
 * transaction. @throws DefinitionError for a bad name, version, mode or collection
 */
export function customProjection<Unit extends StateUnit = StateUnit>(
  name: string,
  options: CustomProjectionOptions = {},
): CustomProjection<Unit> {
  return new CustomProjection<Unit>(name, options);
}

/** What is the same for all events of a batch. */
type Access<Unit extends StateUnit> = Omit<ProjectionContext<Unit>, 'replaying' | 'effect'>;

async function handleAll<Unit extends StateUnit>(
  events: readonly RecordedEvent[],
  handlers: ReadonlyMap<string, CustomHandler<unknown, Unit>>,
  access: Access<Unit>,
  { isReplay }: HandlingContext,
): Promise<void> {
  for (const event of events) {
    const handler = handlers.get(event.type);
    if (!handler) continue;
    try {
      const context = { ...access, ...replayContext(isReplay(event)) };
      const handled = withMetadata(causedBy(event), () => handler(event, context));
      if (handled instanceof Promise) await handled;
    } catch (cause) {
      throw new HandlerError(event, cause);
    }
  }
}

function collectionsOf(
  projection: string,
  { documents = [], tables = {} }: CustomProjectionOptions,
): Collection[] {
  const subject = `Projection "${projection}"`;
  const collections: Collection[] = [
    ...documentsOf(documents),
    ...Object.entries(tables).map(([name, create]) => ({ name, kind: 'table' as const, create })),
  ];
  const names = new Set<string>();
  for (const { name, indexes } of collections) {
    checkIdentifier(subject, name);
    indexedFields(subject, indexes);
    if (names.has(name)) throw new DefinitionError(subject, `it declares "${name}" twice`);
    names.add(name);
  }
  return collections;
}

function documentsOf(documents: NonNullable<CustomProjectionOptions['documents']>): Collection[] {
  if (isNames(documents)) return documents.map((name) => ({ name, kind: 'documents' }));
  return Object.entries(documents).map(([name, indexes]) => ({ name, kind: 'documents', indexes }));
}

function isNames(documents: readonly string[] | object): documents is readonly string[] {
  return Array.isArray(documents);
}

function owned(projection: string, collections: ReadonlySet<string>, name: string): string {
  if (collections.has(name)) return name;
  throw new DefinitionError(
    `Projection "${projection}"`,
    `it does not declare "${name}": add it to its documents or tables`,
  );
}
