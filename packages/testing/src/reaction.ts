import {
  type AnyProcessManager,
  type Application,
  createApplication,
  EventCodec,
  type EventType,
  aggregateTypeOf,
  type MemoryStore,
  memoryStore,
  ProcessorStoppedError,
  type ProcessManager,
  type RecordedEvent,
  silentLogger,
  sliceOf,
  systemClock,
  type Timer,
} from '@refold/core';
import { matches, type ExpectedError } from './aggregate-checks.js';
import { expectEqual, fail, shown, shownError } from './failure.js';
import type { ExpectedEvent, ProcessTimer, Reaction, ReactOptions } from './process-managers.js';
import type { GivenEvent } from './projections.js';
import { parsed, throughJson } from './round-trip.js';

/** An event as a log keeps it. */
interface StoredForm {
  readonly stream: string;
  readonly type: string;
  readonly data: unknown;
}

interface TimerForm extends Omit<StoredForm, 'stream'> {
  readonly key: string;
  readonly name: string;
  readonly dueAt: Date;
}

interface Outcome<State> {
  readonly appended: readonly StoredForm[];
  readonly timersBefore: readonly TimerForm[];
  readonly timers: readonly TimerForm[];
  readonly cause: Pick<RecordedEvent, 'recordedAt'>;
  readonly key: string;
  readonly state: State;
  readonly thrown: { readonly error: unknown } | undefined;
}

/** Runs a process manager on one event, once, at the first check. */
export class ReactionRun<State, Own extends object> implements Reaction<State> {
  readonly #manager: ProcessManager<State, Own>;
  readonly #history: readonly GivenEvent[];
  readonly #event: GivenEvent;
  readonly #options: ReactOptions;
  readonly #codec: EventCodec;
  #outcome: Promise<Outcome<State>> | undefined;

  constructor(
    manager: ProcessManager<State, Own>,
    history: readonly GivenEvent[],
    event: GivenEvent,
    options: ReactOptions,
  ) {
    this.#manager = manager;
    this.#history = history;
    this.#event = event;
    this.#options = options;
    const { aggregates = [] } = options;
    const commanded = aggregates.flatMap((one) => aggregateTypeOf(one).eventTypes);
    this.#codec = new EventCodec([
      ...this.#eventTypes(),
      ...commanded,
      ...manager.eventTypes,
      ...manager.ownEventTypes,
    ]);
  }

  async thenAppends(expected: readonly ExpectedEvent[]): Promise<void> {
    const { appended } = await this.#done();
    const forms = expected.map((one, index) => this.#stored(one, `Expected event ${index + 1}`));
    expectEqual(appended, forms, 'The appended events are not the expected ones');
  }

  async thenNothing(): Promise<void> {
    const { appended, timers, timersBefore } = await this.#done();
    expectEqual(appended, [], 'Expected nothing to be appended');
    expectEqual(timers, timersBefore, 'Expected no timer to be set or cancelled');
  }

  async thenTimers(expected: readonly ProcessTimer[]): Promise<void> {
    const { timers, cause, key } = await this.#done();
    const forms = expected.map((one, index) =>
      this.#timerForm(one, { key, cause }, `Expected timer ${index + 1}`),
    );
    expectEqual([...timers].sort(byName), forms.sort(byName), 'The timers are not the expected ones');
  }

  async thenState(expected: State | ((state: State) => unknown)): Promise<void> {
    const { state } = await this.#done();
    if (!isCheck(expected)) return expectEqual(state, expected, 'The state is not the expected one');
    const verdict = await expected(state);
    if (verdict === false) fail(`The check of the state returned false; it is ${shown(state)}`);
  }

  async thenThrows(expected: ExpectedError): Promise<unknown> {
    const { thrown } = await (this.#outcome ??= this.#run());
    const wanted =
      typeof expected === 'function' ? expected.name || 'an error' : `an error matching ${String(expected)}`;
    if (!thrown) fail(`Expected ${wanted} to be thrown, but nothing was`);
    if (matches(thrown.error, expected)) return thrown.error;
    return fail(`Expected ${wanted} to be thrown, but it was ${shownError(thrown.error)}`, thrown.error);
  }

  async #done(): Promise<Outcome<State>> {
    const outcome = await (this.#outcome ??= this.#run());
    if (outcome.thrown) {
      const { error } = outcome.thrown;
      fail(`The handler of ${shown(this.#event.event)} threw ${shownError(error)}`, error);
    }
    return outcome;
  }

  async #run(): Promise<Outcome<State>> {
    let recordedAt: Date | undefined;
    const now = (): number => (recordedAt ?? new Date()).getTime();
    await using store = memoryStore({ clock: { ...systemClock, now } });
    const app = this.#application(store);
    const append = async (given: GivenEvent, what: string): Promise<void> => {
      this.#stored(given, what);
      recordedAt = given.recordedAt;
      await app.append(given.stream, [given.event], { metadata: given.metadata });
    };
    for (const [index, given] of this.#history.entries()) await append(given, `Given event ${index + 1}`);
    const after = await app.head();
    const generation = await store.createGeneration(this.#manager.name, {
      version: this.#manager.version,
      collections: [],
      after,
    });
    await append(this.#event, 'The event');
    return await this.#handled(app, store, { ...generation, after });
  }

  async #handled(
    app: Application,
    store: MemoryStore,
    { generation, after }: { readonly generation: number; readonly after: number },
  ): Promise<Outcome<State>> {
    const manager = this.#manager;
    const all = { processor: manager.name, generation, firstSlice: 0, lastSlice: 1023 };
    const timers = async (): Promise<TimerForm[]> => (await store.timers(all, 10_000)).map(formOf);
    const [cause] = await app.events({ after }).toArray();
    if (!cause) throw new Error('the event is not in the log');
    const key = manager.sequenceOf(cause);
    const set = (this.#options.timers ?? []).map((one) => this.#givenTimer(one, { key, cause }));
    await store.transaction((unit) => unit.setTimers(all, set));
    const timersBefore = await timers();
    const thrown = await thrownBy(app.catchUp());
    const appended = await store.readAll({ after: after + 1 }).toArray();
    const own = await app.streamEvents(`${manager.name}-${key}`).toArray();
    return {
      ...{ cause, key, thrown, timersBefore, timers: await timers() },
      appended: appended.map(({ stream, type, data }) => ({ stream, type, data })),
      state: manager.stateAfter(
        key,
        own.map((event) => this.#codec.domainEvent(event)),
      ),
    };
  }

  #application(store: MemoryStore): Application {
    return createApplication({
      store,
      aggregates: this.#options.aggregates,
      processManagers: [impatient(this.#manager)],
      events: this.#eventTypes(),
      logger: silentLogger,
      // No timer is due by this clock.
      clock: { ...systemClock, now: () => 0 },
    });
  }

  /** Types beside the process manager's own: those of the options, and the classes of given events. */
  #eventTypes(): EventType[] {
    const classes = [...this.#history, this.#event].map(({ event }) => event.constructor as EventType);
    return [...new Set([...(this.#options.events ?? []), ...classes])].filter((type) => type !== Object);
  }

  #stored({ stream, event }: ExpectedEvent, what: string): StoredForm {
    const subject = `${what}, ${shown(event)},`;
    return { stream, ...throughJson(this.#codec, event, subject, { stream, revision: 0 }).stored };
  }

  #timerForm(timer: ProcessTimer, of: Pick<Outcome<State>, 'key' | 'cause'>, what: string): TimerForm {
    const { key = of.key, name, event } = timer;
    const dueAt = 'at' in timer ? timer.at : new Date(of.cause.recordedAt.getTime() + timer.afterMs);
    const { type, data } = this.#stored({ stream: `${this.#manager.name}-${key}`, event }, what);
    return { key, name, dueAt, type, data };
  }

  #givenTimer(timer: ProcessTimer, of: Pick<Outcome<State>, 'key' | 'cause'>): Timer {
    const { key, name, dueAt } = this.#timerForm(timer, of, 'The event of a given timer');
    return { sequence: key, slice: sliceOf(key), name, dueAt, data: this.#codec.encode(timer.event) };
  }
}

/** The same process manager, which stops at the first error. */
function impatient(manager: AnyProcessManager): AnyProcessManager {
  const { name, version, mode, guarantee, partitions, eventTypes, ownEventTypes, collections } = manager;
  const errors = { ...manager.errors, onError: 'stop' as const, kindOf: () => 'permanent' as const };
  return {
    ...{ name, version, mode, guarantee, partitions, eventTypes, ownEventTypes, collections, errors },
    sequenceOf: (event) => manager.sequenceOf(event),
    handler: (generation) => manager.handler(generation),
    bind: (host) => ({ ...manager.bind(host), errors }),
  };
}

async function thrownBy(work: Promise<void>): Promise<{ readonly error: unknown } | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return { error: error instanceof ProcessorStoppedError ? error.cause : error };
  }
}

function formOf({ sequence, name, dueAt, data }: Timer): TimerForm {
  const stored = parsed(data, `timer "${name}"`) as Pick<StoredForm, 'type' | 'data'>;
  return { key: sequence, name, dueAt, type: stored.type, data: stored.data };
}

function byName(one: TimerForm, other: TimerForm): number {
  return JSON.stringify([one.key, one.name]) < JSON.stringify([other.key, other.name]) ? -1 : 1;
}

function isCheck<State>(
  expected: State | ((state: State) => unknown),
): expected is (state: State) => unknown {
  return typeof expected === 'function';
}
