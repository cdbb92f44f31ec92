import { DefinitionError, type FailedEvent } from '../errors.js';
import type { EventCodec } from '../events/codec.js';
import { definitionOf, type EventType } from '../events/event-type.js';
import type { RecordedEvent } from '../store/event-store.js';
import { idOf } from '../store/prepare-append.js';
import type { Collection, DocumentAccess, StateUnit } from '../store/state-store.js';

/** When a projection runs: behind the log in a worker, or in the append's own transaction. */
export type ProjectionMode = 'async' | 'inline';

/** What all projections have. `Unit` is the transaction their handlers need: that of one store, or of any. */
export interface Projection<Unit extends StateUnit = StateUnit> {
  /** Identifies its checkpoint, and for documents its read model. A lower-case identifier. */
  readonly name: string;
  /** Raise it when the handlers change: the next worker builds the read model anew beside the old one, and swaps. */
  readonly version: number;
  readonly mode: ProjectionMode;
  readonly eventTypes: readonly EventType[];
  readonly collections: readonly Collection[];
  /** @internal Makes what handles the events of one generation. */
  handler(generation: number): ProjectionHandler<Unit>;
}

/** @internal Handles events in order for one generation. */
export interface ProjectionHandler<Unit extends StateUnit = StateUnit> {
  /**
   * Does what needs no write lock, and returns what is left to do inside the transaction that moves the checkpoint.
   * @throws HandlerError naming the event that failed, from either step
   */
  prepare(
    events: readonly RecordedEvent[],
    committed: (collection: string) => Pick<DocumentAccess, 'getMany'>,
  ): Promise<(unit: Unit) => Promise<void>>;
  /** Forgets what it keeps between batches; called when a batch was not committed. */
  reset(): void;
}

/** A handler failed on an event; `cause` says how. */
export class HandlerError extends Error {
  constructor(
    readonly event: RecordedEvent,
    cause: unknown,
  ) {
    super('A projection handler failed', { cause });
  }
}

/** What the options of both kinds share. */
export interface ProjectionOptions {
  /** Default 1. */
  readonly version?: number;
  /** Default `'async'`. */
  readonly mode?: ProjectionMode;
}

/** Folds an event into a document: return the new one, change the one given and return nothing, or return null to delete it. */
export type Fold<Doc, Data> = (document: Doc, event: RecordedEvent<Data>) => Doc | null | void;

/** Names the document, or the documents, that an event is folded into; undefined or an empty array for none. */
export type DocumentKey<Data> = (event: RecordedEvent<Data>) => string | readonly string[] | undefined;

/** A handler of a custom projection. It writes with `context` only, and awaits everything it starts. */
export type CustomHandler<Data, Unit extends StateUnit> = (
  event: RecordedEvent<Data>,
  context: ProjectionContext<Unit>,
) => void | Promise<void>;

/** What a custom handler writes with: the transaction that also moves the checkpoint. */
export interface ProjectionContext<Unit extends StateUnit = StateUnit> {
  readonly unit: Unit;
  /** The documents of one of the projection's collections. */
  readonly documents: (collection: string) => DocumentAccess;
  /** The name of one of the projection's tables, quoted for SQL. */
  readonly table: (name: string) => string;
}

/** @internal Checks a name that becomes a table or a checkpoint. */
export function checkIdentifier(subject: string, name: string): void {
  if (typeof name !== 'string' || !/^[a-z][a-z0-9_]{0,47}$/.test(name) || name.startsWith('refold_')) {
    throw new DefinitionError(
      subject,
      `${JSON.stringify(name)} must be 1 to 48 lower-case letters, digits and underscores, begin with a letter and not with "refold_"`,
    );
  }
}

/** @internal Checks what the options of both kinds share. */
export function checkProjection(
  name: string,
  { version = 1, mode = 'async' }: ProjectionOptions,
): { name: string; version: number; mode: ProjectionMode } {
  const subject = `Projection ${JSON.stringify(name)}`;
  checkIdentifier(subject, name);
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new DefinitionError(subject, `its version must be a whole number from 1, got ${String(version)}`);
  }
  if (mode !== 'async' && mode !== 'inline') {
    throw new DefinitionError(subject, `its mode must be 'async' or 'inline', got ${String(mode)}`);
  }
  return { name, version, mode };
}

/** @internal Adds a handler under the name of its event type. @throws DefinitionError if there is one */
export function withHandler<Handler>(
  projection: string,
  handlers: ReadonlyMap<string, Handler>,
  type: EventType,
  handler: Handler,
): Map<string, Handler> {
  const eventName = definitionOf(type).type;
  if (handlers.has(eventName)) {
    throw new DefinitionError(`Projection "${projection}"`, `it has two handlers for "${eventName}"`);
  }
  return new Map(handlers).set(eventName, handler);
}

/** The default key: the id of the event's stream, `42` for `order-42`. */
export function streamIdKey(event: RecordedEvent): string {
  return idOf(event.stream);
}

/** @internal Decodes an event. @throws HandlerError, so that the event can be named like one that a handler failed on */
export function decodeOrFail(codec: EventCodec, event: RecordedEvent): RecordedEvent {
  try {
    return codec.decode(event);
  } catch (cause) {
    throw new HandlerError(event, cause);
  }
}

/** @internal What an error says of an event. */
export function failedEvent({ id, type, stream, revision, position }: RecordedEvent): FailedEvent {
  return { id, type, stream, revision, position };
}
