import { Aggregate } from '../aggregates/aggregate.js';
import type { AggregateType } from '../aggregates/aggregate-type.js';
import { definitionOf, typeNameOf, type EventType } from '../events/event-type.js';

/** @internal How a process manager keeps its own state. */
export interface StateDefinition<State, Own extends object> {
  readonly initial: () => State;
  /** The types that change the state. */
  readonly events: readonly EventType[];
  readonly evolve: (state: State, event: Own) => State;
}

/** @internal The state of one instance, folded from its stream as an aggregate is. */
export class ProcessState<State, Own extends object> extends Aggregate {
  readonly #definition: StateDefinition<State, Own>;
  readonly #own: ReadonlySet<string>;
  state: State;

  constructor(key: string, definition: StateDefinition<State, Own>, own: ReadonlySet<string>) {
    super(key);
    this.#definition = definition;
    this.#own = own;
    this.state = definition.initial();
  }

  /** Records an event of the instance itself. */
  add(event: Own): void {
    this.record(event);
  }

  /** Timers' events stand in the stream too, and need not change the state. */
  protected override apply(event: object): void {
    if (this.#own.has(typeNameOf(event))) {
      this.state = this.#definition.evolve(this.state, event as Own);
    }
  }
}

/** @internal The state as an aggregate type of its own. It takes no snapshots. */
export function stateType<State, Own extends object>(
  category: string,
  definition: StateDefinition<State, Own>,
): AggregateType<ProcessState<State, Own>> {
  const own = new Set(definition.events.map((type) => definitionOf(type).type));
  const create = (key: string): ProcessState<State, Own> => new ProcessState(key, definition, own);
  return {
    category,
    version: 1,
    snapshotEvery: undefined,
    eventTypes: definition.events,
    create,
    toSnapshot: ({ state }) => state,
    fromSnapshot: create,
  };
}
