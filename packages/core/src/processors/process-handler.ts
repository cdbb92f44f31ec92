import { InvalidArgumentError } from '../errors.js';
import { causedBy, withMetadata } from '../events/correlation.js';
import { definitionOf, type EventType } from '../events/event-type.js';
import type { AggregateType } from '../aggregates/aggregate-type.js';
import type { NewEvent, RecordedEvent } from '../store/event-store.js';
import type { Timer } from '../store/processor-state.js';
import type { StateUnit } from '../store/state-store.js';
import { LoadedAggregates } from './loaded-aggregates.js';
import { ProcessBatch, type ProcessHost } from './process-batch.js';
import type { ProcessReaction } from './process-manager.js';
import { stateType, type ProcessState, type StateDefinition } from './process-state.js';
import { ProcessRun } from './process.js';
import { HandlerError, type HandlingContext, type TransactionalHandler } from './processor.js';

/** @internal What a process manager is, with what it needs of its application. */
export interface ProcessHandlerParts<State, Own extends object> {
  readonly name: string;
  readonly eventTypes: readonly EventType[];
  readonly host: ProcessHost;
  readonly definition: StateDefinition<State, Own>;
  readonly reactions: ReadonlyMap<string, ProcessReaction<State, Own>>;
  readonly keyOf: (event: RecordedEvent) => string | undefined;
}

/** @internal Handles the events of one partition of a process manager, and makes events of its timers. */
export class ProcessHandler<State, Own extends object> implements TransactionalHandler {
  readonly #parts: ProcessHandlerParts<State, Own>;
  readonly #owner: { readonly processor: string; readonly generation: number };
  readonly #type: AggregateType<ProcessState<State, Own>>;
  readonly #known: ReadonlySet<string>;
  readonly #loaded = new LoadedAggregates();

  constructor(parts: ProcessHandlerParts<State, Own>, generation: number) {
    const { name, definition, eventTypes } = parts;
    this.#parts = parts;
    this.#owner = { processor: name, generation };
    this.#type = stateType(name, definition);
    this.#known = new Set([...eventTypes, ...definition.events].map((type) => definitionOf(type).type));
  }

  async prepare(
    events: readonly RecordedEvent[],
    _: unknown,
    { isReplay }: HandlingContext,
  ): Promise<(unit: StateUnit) => Promise<void>> {
    const batch = new ProcessBatch(this.#parts.host, this.#loaded, this.#owner);
    for (const event of events) {
      try {
        await this.#handle(event, batch, isReplay(event));
      } catch (cause) {
        throw new HandlerError(event, cause);
      }
    }
    this.#loaded.keep();
    return (unit) => batch.write(unit);
  }

  /** Events may be slow: each may load aggregates. */
  readonly firstBatch = 100;

  reset(): void {
    this.#loaded.clear();
  }

  async fire(due: readonly Timer[]): Promise<(unit: StateUnit) => Promise<void>> {
    const { host, name } = this.#parts;
    const events = due.map(({ sequence, data }) => ({
      stream: `${name}-${sequence}`,
      event: storedIn(data),
    }));
    const fired = await this.#firedBefore(events.map(({ stream }) => stream));
    return async (unit) => {
      const removed = await unit.removeTimers(this.#owner, due);
      const byStream = new Map<string, NewEvent[]>();
      events.forEach(({ stream, event }, index) => {
        if (!removed[index] || fired.has(event.id ?? '')) return;
        byStream.set(stream, [...(byStream.get(stream) ?? []), event]);
      });
      const appends = [...byStream].map(([stream, added]) => ({ stream, events: added }));
      for (const { stream } of appends) this.#loaded.forget(stream);
      if (appends.length > 0) await host.appendIn(unit)(appends);
    };
  }

  async #handle(event: RecordedEvent, batch: ProcessBatch, replaying: boolean): Promise<void> {
    const { reactions, keyOf, name } = this.#parts;
    const reaction = reactions.get(event.type);
    const key = reaction && keyOf(event);
    if (!reaction || key === undefined) return;
    if (typeof key !== 'string' || key === '') {
      const where = `key of ${event.type} in stream "${event.stream}"`;
      throw new InvalidArgumentError(where, key, 'must be a non-empty string, or undefined');
    }
    const own = await batch.load(this.#type, key);
    const call = {
      manager: name,
      cause: event,
      key,
      own,
      ownType: this.#type,
      replaying,
      known: this.#known,
    };
    const run = new ProcessRun<State, Own>(call, batch);
    await withMetadata(causedBy(event), () => reaction.handler(event, run));
    run.end();
  }

  /** A generation that came after another may set timers again that have fired in the other's time. */
  async #firedBefore(streams: readonly string[]): Promise<ReadonlySet<string>> {
    const ids = new Set<string>();
    if (this.#owner.generation === 1) return ids;
    for (const stream of new Set(streams)) {
      for (const id of await this.#parts.host.idsOf(stream)) ids.add(id);
    }
    return ids;
  }
}

/** The event that a timer keeps, as `ProcessBatch.schedule` put it there. */
function storedIn(data: unknown): NewEvent {
  return data as NewEvent;
}
