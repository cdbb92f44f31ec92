import { DefinitionError } from '../errors.js';
import type { EventOf, EventType } from '../events/event-type.js';
import { Aggregate } from './aggregate.js';
import { checkAggregateOptions, registerAggregateType, type AggregateOptions } from './aggregate-type.js';
import { checkSnapshotValue } from './snapshot-state.js';

/** An aggregate as three pure functions. */
export interface Decider<Command, State, Event extends object> {
  readonly category: string;
  readonly initial: () => State;
  readonly decide: (command: Command, state: State) => Event | readonly Event[];
  readonly evolve: (state: State, event: Event) => State;
}

/** A decider of any command, state and event, where only its identity matters. */
export interface AnyDecider {
  readonly category: string;
  readonly initial: () => unknown;
  readonly decide: (command: never, state: never) => unknown;
  readonly evolve: (state: never, event: never) => unknown;
}

/** What `decider` takes. */
export interface DeciderOptions<Command, State, Types extends readonly EventType[]> extends Pick<
  AggregateOptions,
  'version' | 'snapshotEvery'
> {
  /** The category of its streams. */
  readonly category: string;
  /** Every event type that it decides or evolves. */
  readonly events: Types;
  /** The state before the first event. */
  readonly initial: () => State;
  /** The events that a command leads to; throws where a rule forbids it. Pure. */
  readonly decide: (
    command: Command,
    state: State,
  ) => EventOf<Types[number]> | readonly EventOf<Types[number]>[];
  /** The state after an event. Pure: it returns the new state. */
  readonly evolve: (state: State, event: EventOf<Types[number]>) => State;
}

/** A decider at work: what a repository loads and saves for it. */
export class DeciderAggregate<Command, State, Event extends object> extends Aggregate {
  readonly #decider: Decider<Command, State, Event>;
  /** The state after all events so far, those that are not yet saved included. */
  state: State;

  constructor(id: string, decider: Decider<Command, State, Event>, state: State = decider.initial()) {
    super(id);
    this.#decider = decider;
    this.state = state;
  }

  /** Decides a command on the current state and records the events; returns them. What `decide` throws comes out as it is. */
  execute(command: Command): readonly Event[] {
    const decided = this.#decider.decide(command, this.state);
    const events: readonly Event[] = isMany(decided) ? decided : [decided];
    for (const event of events) this.record(event);
    return events;
  }

  protected override apply(event: object): void {
    this.state = this.#decider.evolve(this.state, event as Event);
  }
}

/**
 * Declares an aggregate as a decider; types are inferred from `events`, `initial` and `decide`.
 * Source of the pattern: Jérémie Chassaing, "Functional Event Sourcing Decider" (2021).
 * @throws DefinitionError for a bad category, version or snapshot policy
 */
export function decider<Command, State, const Types extends readonly EventType[]>(
  options: DeciderOptions<Command, State, Types>,
): Decider<Command, State, EventOf<Types[number]> & object> {
  type Event = EventOf<Types[number]> & object;
  const checked = checkAggregateOptions(options.category, options);
  if (options.events.length === 0) {
    throw new DefinitionError(
      `Decider "${options.category}"`,
      'it names no events: list every type that it decides',
    );
  }
  const functions: Decider<Command, State, Event> = {
    category: options.category,
    initial: options.initial,
    decide: options.decide,
    evolve: options.evolve,
  };
  registerAggregateType(functions, {
    ...checked,
    eventTypes: options.events,
    create: (id) => new DeciderAggregate(id, functions),
    toSnapshot: (aggregate) => {
      const state: unknown = aggregate instanceof DeciderAggregate ? aggregate.state : undefined;
      checkSnapshotValue(options.category, 'state', state, options.initial());
      return { state };
    },
    fromSnapshot: (id, snapshot) => new DeciderAggregate(id, functions, (snapshot as { state: State }).state),
  });
  return functions;
}

function isMany<Event>(decided: Event | readonly Event[]): decided is readonly Event[] {
  return Array.isArray(decided);
}
