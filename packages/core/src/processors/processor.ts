import type { FailedEvent } from '../errors.js';
import type { Flow } from '../deliveries/flow/flow.js';
import type { FlowSettings } from '../deliveries/flow/flow-settings.js';
import type { EventCodec } from '../events/codec.js';
import type { EventType } from '../events/event-type.js';
import type { EventFilter, EventStore, RecordedEvent } from '../store/event-store.js';
import { categoryOf } from '../store/prepare-append.js';
import type { SliceRange, Timer } from '../store/processor-state.js';
import type { Collection, DocumentAccess, StateUnit } from '../store/state-store.js';
import type { ErrorPolicy } from './error-policy.js';

/** When a processor runs: behind the log in a worker, or in the append's own transaction. */
export type ProcessorMode = 'async' | 'inline';

/**
 * What a processor promises for its effects, whatever crashes:
 * - `exactlyOnce`: they are written in the transaction that moves the checkpoint
 * - `atLeastOnce`: the checkpoint moves after them, so a crash in between repeats them
 * - `atMostOnce`: the checkpoint moves before them, so a crash in between loses them
 */
export type Guarantee = 'exactlyOnce' | 'atLeastOnce' | 'atMostOnce';

/** A named, checkpointed reader of the log. `Unit` is the transaction its handlers need: that of one store, or of any. */
export interface Processor<Unit extends StateUnit = StateUnit> {
  /** Identifies its checkpoints and its read models. A lower-case identifier. */
  readonly name: string;
  /** Raise it when the handlers change: the next worker builds the read model anew beside the old one, and swaps. */
  readonly version: number;
  readonly mode: ProcessorMode;
  readonly guarantee: Guarantee;
  /** How many partitions a new generation begins with. */
  readonly partitions: number;
  readonly errors: ErrorPolicy;
  /** How its events flow, where that is said. */
  readonly flow?: FlowSettings;
  readonly eventTypes: readonly EventType[];
  /** Whether it handles all event types of its application, `eventTypes` or not. */
  readonly everyType?: boolean;
  /** Where given, it handles only events of streams in these categories. */
  readonly categories?: readonly string[];
  readonly collections: readonly Collection[];
  /** @internal What was given to `on`, for those who look for what handlers need. */
  readonly handlers?: readonly unknown[];
  /** @internal Behind which position its first generation begins. Default: the beginning of the log. */
  startAfter?(log: Pick<EventStore, 'head' | 'readAll'>): Promise<number>;
  /** @internal The sequence of a decoded event, which stays in order; undefined if the event belongs to several. */
  sequenceOf(event: RecordedEvent): string | undefined;
  /** @internal Whether an event is given to the handler's own code; those that are not need not wait for the rate. */
  wants?(event: RecordedEvent): boolean;
  /** @internal Makes what handles the events of one generation, in the slices of one partition. */
  handler(generation: number, slices?: SliceRange): ProcessorHandler<Unit>;
}

/** @internal What handles events in order for one partition of one generation. */
export type ProcessorHandler<Unit extends StateUnit = StateUnit> = TransactionalHandler<Unit> | EffectHandler;

/** @internal What a handler may ask about the events it is given. */
export interface HandlingContext {
  /** Whether an earlier generation of the processor has processed an event. */
  readonly isReplay: (event: RecordedEvent) => boolean;
  /** Aborts when no more events are wanted: what waits outside of the store should end soon. */
  readonly signal?: AbortSignal;
  /** Counts what comes of them. */
  readonly flow?: Flow;
}

/** @internal Writes its effects in the transaction that moves the checkpoint: exactly once. */
export interface TransactionalHandler<Unit extends StateUnit = StateUnit> {
  /**
   * Does what needs no write lock, and returns what is left to do inside the transaction.
   * @throws HandlerError naming the event that failed, from either step
   */
  prepare(
    events: readonly RecordedEvent[],
    committed: (collection: string) => Pick<DocumentAccess, 'getMany'>,
    context: HandlingContext,
  ): Promise<(unit: Unit) => Promise<void>>;
  /** How many events it may be given before it is known how long they take; the others follow from time. */
  readonly firstBatch: number;
  /** Forgets what it keeps between batches; called when a batch was not committed. */
  reset(): void;
  /** Makes events of timers that are due; returns what removes and appends them. Absent where no timers are set. */
  fire?(due: readonly Timer[]): Promise<(unit: Unit) => Promise<void>>;
}

/** @internal Has its effects elsewhere. */
export interface EffectHandler {
  /** @throws HandlerError naming the first event whose effects are not known to be done; those before it are */
  handle(events: readonly RecordedEvent[], context: HandlingContext): Promise<void>;
  /** Gives back what it holds for its partition; called when the partition is given up. */
  close?(): Promise<void>;
}

/** A handler failed on an event; `cause` says how. */
export class HandlerError extends Error {
  constructor(
    readonly event: RecordedEvent,
    cause: unknown,
  ) {
    super('A handler failed', { cause });
  }
}

/** @internal Decodes an event. @throws HandlerError, so that the event can be named like one that a handler failed on */
export function decodeOrFail(codec: EventCodec, event: RecordedEvent): RecordedEvent {
  try {
    return codec.decode(event);
  } catch (cause) {
    throw new HandlerError(event, cause);
  }
}

/** @internal Which stored events a processor handles. */
export function filterOf(
  { eventTypes, everyType, categories }: Pick<Processor, 'eventTypes' | 'everyType' | 'categories'>,
  codec: EventCodec,
): EventFilter & { readonly types: readonly string[] } {
  return { types: everyType ? codec.allNames() : codec.storedNames(eventTypes), categories };
}

/** @internal Whether a filter lets a stored event through. */
export function passes({ types, categories }: EventFilter): (event: RecordedEvent) => boolean {
  const wanted = types && new Set(types);
  return ({ type, stream }) =>
    (wanted === undefined || wanted.has(type)) &&
    (categories === undefined || categories.includes(categoryOf(stream)));
}

/** @internal What an error says of an event. */
export function failedEvent({ id, type, stream, revision, position }: RecordedEvent): FailedEvent {
  return { id, type, stream, revision, position };
}

/** @internal Whether a handler's effects are in the checkpoint's transaction. */
export function isTransactional<Unit extends StateUnit>(
  handler: ProcessorHandler<Unit>,
): handler is TransactionalHandler<Unit> {
  return 'prepare' in handler;
}
