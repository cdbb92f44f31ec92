import { DefinitionError } from '../errors.js';
import { definitionOf, type EventType } from '../events/event-type.js';
import type { RecordedEvent } from '../store/event-store.js';
import { idOf } from '../store/prepare-append.js';
import { SLICES } from '../store/slices.js';
import type { DocumentAccess, StateUnit } from '../store/state-store.js';
import { errorPolicy, type ErrorOptions, type ErrorPolicy, type OnError } from './error-policy.js';
import type { Processor, ProcessorMode, TransactionalHandler } from './processor.js';

/** A processor that writes a read model, in the transaction that moves its checkpoint: exactly once. */
export interface Projection<Unit extends StateUnit = StateUnit> extends Processor<Unit> {
  readonly guarantee: 'exactlyOnce';
  /** @internal */
  handler(generation: number): TransactionalHandler<Unit>;
}

/** Names the sequence of an event: events with the same one are handled in order, by one worker. */
export type SequenceKey = (event: RecordedEvent) => string;

/** What the options of all processors share. */
export interface ProcessorOptions extends ErrorOptions {
  /**
   * How many partitions a new generation begins with, 1 to 1024: so many workers can share it. Default 1. While it runs,
   * `split` and `merge` change that.
   */
  readonly partitions?: number;
}

/** What the options of all projections share. */
export interface ProjectionOptions extends ProcessorOptions {
  /** Default 1. */
  readonly version?: number;
  /** Default `'async'`. */
  readonly mode?: ProcessorMode;
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
  /** Whether an earlier version or build of this projection has handled the event. */
  readonly replaying: boolean;
  /** Does what must not be done again in a replay, such as a notification; at least once, since a batch may be repeated. */
  readonly effect: (work: () => void | Promise<void>) => Promise<void>;
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

/** @internal What a handler is told of replays, and does not do in one. */
export function replayContext(replaying: boolean): Pick<ProjectionContext, 'replaying' | 'effect'> {
  return {
    replaying,
    effect: async (work) => {
      if (!replaying) await work();
    },
  };
}

/** @internal What every processor is told of itself, checked and with its defaults. */
export interface CheckedOptions {
  readonly name: string;
  readonly version: number;
  readonly mode: ProcessorMode;
  readonly partitions: number;
  readonly errors: ErrorPolicy;
}

/** @internal Checks what the options of all processors share. @throws DefinitionError */
export function checkProcessor(
  subject: string,
  name: string,
  { version = 1, mode = 'async', partitions = 1, ...errors }: ProjectionOptions,
  defaults: { readonly onError: OnError; readonly maxAttempts: number },
): CheckedOptions {
  checkIdentifier(subject, name);
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new DefinitionError(subject, `its version must be a whole number from 1, got ${String(version)}`);
  }
  if (mode !== 'async' && mode !== 'inline') {
    throw new DefinitionError(subject, `its mode must be 'async' or 'inline', got ${String(mode)}`);
  }
  if (!Number.isSafeInteger(partitions) || partitions < 1 || partitions > SLICES) {
    throw new DefinitionError(
      subject,
      `its partitions must be a whole number from 1 to ${SLICES}, got ${String(partitions)}`,
    );
  }
  if (mode === 'inline' && partitions > 1) {
    throw new DefinitionError(subject, 'an inline one has one partition, since every append waits for it');
  }
  if (mode === 'inline' && errors.onError !== undefined && errors.onError !== 'stop') {
    throw new DefinitionError(
      subject,
      `an inline one fails the append: its onError cannot be '${errors.onError}'`,
    );
  }
  return { name, version, mode, partitions, errors: errorPolicy(subject, errors, defaults) };
}

/** @internal Adds a handler under the name of its event type. @throws DefinitionError if there is one */
export function withHandler<Handler>(
  subject: string,
  handlers: ReadonlyMap<string, Handler>,
  type: EventType,
  handler: Handler,
): Map<string, Handler> {
  const eventName = definitionOf(type).type;
  if (handlers.has(eventName)) {
    throw new DefinitionError(subject, `it has two handlers for "${eventName}"`);
  }
  return new Map(handlers).set(eventName, handler);
}

/** The default key: the id of the event's stream, `42` for `order-42`. */
export function streamIdKey(event: RecordedEvent): string {
  return idOf(event.stream);
}
