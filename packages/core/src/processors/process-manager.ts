import { aggregateInternals } from '../aggregates/aggregate.js';
import { DefinitionError } from '../errors.js';
import { definitionOf, type DataOf, type EventOf, type EventType } from '../events/event-type.js';
import type { RecordedEvent } from '../store/event-store.js';
import { categoryOf, idOf } from '../store/prepare-append.js';
import type { Collection } from '../store/state-store.js';
import type { ErrorPolicy } from './error-policy.js';
import { ConcurrentAppendError } from './pending-appends.js';
import { ProcessHandler } from './process-handler.js';
import type { ProcessHost } from './process-batch.js';
import { stateType, type StateDefinition } from './process-state.js';
import type { Process } from './process.js';
import type { Processor, TransactionalHandler } from './processor.js';
import { checkProcessor, streamIdKey, withHandler, type ProcessorOptions } from './projection.js';

/** Names the instance that an event belongs to; undefined if it belongs to none, and is then passed over. */
export type ProcessKey<Data = unknown> = (event: RecordedEvent<Data>) => string | undefined;

/** What can be said of a process manager beside its name. */
export interface ProcessManagerOptions extends ProcessorOptions {
  /** Names the instance of events whose handler does not. Default: the id of the event's stream, `42` for `order-42`. */
  readonly key?: ProcessKey;
}

/** The options of a process manager with a state of its own. */
export interface ProcessStateOptions<
  State,
  Types extends readonly EventType[],
> extends ProcessManagerOptions {
  /** The state of an instance before its first own event. */
  readonly initial: () => State;
  /** The types of its own events: what handlers record, and timers that change the state. */
  readonly events: Types;
  /** The state after an own event. Pure: it returns the new state. */
  readonly evolve: (state: State, event: EventOf<Types[number]>) => State;
}

/** Handles one event of one instance; what it throws is retried, then parked, unless the options say otherwise. */
export type ProcessEventHandler<Data, State, Own extends object> = (
  event: RecordedEvent<Data>,
  process: Process<State, Own>,
) => void | Promise<void>;

/** @internal A handler with what names its instance. */
export interface ProcessReaction<State, Own extends object> {
  readonly handler: ProcessEventHandler<unknown, State, Own>;
  readonly key: ProcessKey;
}

/** A process manager of any state, as an application takes it. */
export interface AnyProcessManager extends Processor {
  /** @internal The types of its own events. */
  readonly ownEventTypes: readonly EventType[];
  /** @internal The processor that does its work in an application. */
  bind(host: ProcessHost): Processor;
}

/**
 * A processor that answers events with commands and events of its own, now or at a due time. Each of its instances is a
 * sequence: its events are handled one after the other. Whatever it does is committed together with its checkpoint:
 * exactly once. Every `on` returns a new process manager.
 */
export class ProcessManager<State = undefined, Own extends object = never> implements AnyProcessManager {
  readonly name: string;
  readonly version = 1;
  readonly mode = 'async';
  readonly guarantee = 'exactlyOnce';
  readonly partitions: number;
  readonly errors: ErrorPolicy;
  readonly eventTypes: readonly EventType[];
  readonly collections: readonly Collection[] = [];
  readonly #options: ProcessManagerOptions;
  readonly #definition: StateDefinition<State, Own>;
  readonly #reactions: ReadonlyMap<string, ProcessReaction<State, Own>>;

  /** @internal Use `processManager`. */
  constructor(
    name: string,
    options: ProcessManagerOptions,
    definition: StateDefinition<State, Own>,
    eventTypes: readonly EventType[] = [],
    reactions: ReadonlyMap<string, ProcessReaction<State, Own>> = new Map(),
  ) {
    const subject = `Process manager ${JSON.stringify(name)}`;
    const { partitions, retry, onError, classify, deadLetters } = options;
    const processor = { partitions, retry, onError, classify, deadLetters };
    const checked = checkProcessor(subject, name, processor, { onError: 'park', maxAttempts: 5 });
    this.name = checked.name;
    this.partitions = checked.partitions;
    this.errors = withConflicts(checked.errors);
    this.eventTypes = eventTypes;
    this.#options = options;
    this.#definition = definition;
    this.#reactions = reactions;
  }

  /** @internal The types of its own events. */
  get ownEventTypes(): readonly EventType[] {
    return this.#definition.events;
  }

  /**
   * Handles events of a type, those of its own timers among them. `key` names the instance; events of an instance's own
   * stream belong to that instance, whatever it says.
   * @throws DefinitionError if the type has a handler already
   */
  on<T extends EventType>(
    type: T,
    handler: ProcessEventHandler<DataOf<T>, State, Own>,
    { key }: { readonly key?: ProcessKey<DataOf<T>> } = {},
  ): ProcessManager<State, Own> {
    const { name } = this;
    // The codec hands these only events of the type: the map cannot say so.
    const reaction = {
      handler: handler as ProcessEventHandler<unknown, State, Own>,
      key: (key as ProcessKey | undefined) ?? this.#options.key ?? streamIdKey,
    };
    const reactions = withHandler(`Process manager "${name}"`, this.#reactions, type, reaction);
    const eventTypes = [...this.eventTypes, type];
    return new ProcessManager(name, this.#options, this.#definition, eventTypes, reactions);
  }

  /** @internal What was given to `on`. */
  get handlers(): readonly unknown[] {
    return [...this.#reactions.values()].map(({ handler }) => handler);
  }

  /** @internal */
  sequenceOf(event: RecordedEvent): string {
    // What belongs to no instance is passed over, and what names none fails, in any sequence.
    const key = this.#keyOf(event);
    return key === undefined || key === '' ? event.stream : key;
  }

  /** @internal The state of an instance after events of its own stream, for tests. */
  stateAfter(key: string, events: readonly object[]): State {
    const own = stateType(this.name, this.#definition).create(key);
    for (const event of events) aggregateInternals.fold(own, event);
    return own.state;
  }

  /** @internal */
  handler(): TransactionalHandler {
    throw new DefinitionError(
      `Process manager "${this.name}"`,
      'it works in an application only: put it into processManagers',
    );
  }

  /** @internal */
  bind(host: ProcessHost): Processor {
    const { name, version, mode, guarantee, partitions, errors, eventTypes, collections } = this;
    const parts = {
      name,
      eventTypes,
      host,
      definition: this.#definition,
      reactions: this.#reactions,
      keyOf: (event: RecordedEvent) => this.#keyOf(event),
    };
    return {
      ...{ name, version, mode, guarantee, partitions, errors, eventTypes, collections },
      sequenceOf: (event) => this.sequenceOf(event),
      handler: (generation) => new ProcessHandler(parts, generation),
    };
  }

  #keyOf(event: RecordedEvent): string | undefined {
    if (categoryOf(event.stream) === this.name) return idOf(event.stream);
    return this.#reactions.get(event.type)?.key(event);
  }
}

/**
 * Declares a process manager:
 *
 * ```ts
 * const payments = processManager('payments', { initial: () => ({ paid: false }), events: [Paid], evolve: () => ({ paid: true }) })
 *   .on(OrderPlaced, (_, process) => process.schedule('timeout', { afterMs: 900_000 }, new PaymentTimedOut()))
 *   .on(PaymentReceived, (_, process) => process.record(new Paid()), { key: ({ data }) => data.order })
 *   .on(PaymentTimedOut, async (_, process) => {
 *     if (!process.state.paid) await process.update(Order, process.key, (order) => order.cancel());
 *   });
 * ```
 *
 * @throws DefinitionError for a bad name or option
 */
export function processManager<State, const Types extends readonly EventType[]>(
  name: string,
  options: ProcessStateOptions<State, Types>,
): ProcessManager<State, EventOf<Types[number]> & object>;
export function processManager(name: string, options?: ProcessManagerOptions): ProcessManager;
export function processManager<State, Own extends object>(
  name: string,
  options: ProcessManagerOptions & Partial<StateDefinition<State, Own>> = {},
): ProcessManager<State | undefined, Own> {
  const { initial, events = [], evolve, ...rest } = options;
  if (events.length > 0 !== (evolve !== undefined) || (evolve === undefined) !== (initial === undefined)) {
    throw new DefinitionError(
      `Process manager ${JSON.stringify(name)}`,
      'its state takes all three of initial, events and evolve',
    );
  }
  for (const type of events) definitionOf(type);
  return new ProcessManager<State | undefined, Own>(name, rest, {
    initial: () => initial?.(),
    events,
    evolve: (state, event) => (evolve ? evolve(state as State, event) : state),
  });
}

/** Somebody else was quicker: the batch is done again, for as long as it takes. */
function withConflicts(errors: ErrorPolicy): ErrorPolicy {
  return {
    ...errors,
    kindOf: (error) => (error instanceof ConcurrentAppendError ? 'transient' : errors.kindOf(error)),
  };
}
