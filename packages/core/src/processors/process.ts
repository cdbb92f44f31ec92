import { revisionOf, type Aggregate } from '../aggregates/aggregate.js';
import { aggregateTypeOf, type AggregateClass, type AggregateType } from '../aggregates/aggregate-type.js';
import type { Decider, DeciderAggregate } from '../aggregates/decider.js';
import { AggregateNotFoundError, DefinitionError, InvalidArgumentError } from '../errors.js';
import { typeNameOf } from '../events/event-type.js';
import { messageStreamOf } from '../messages/message-stream.js';
import type { ExpectedRevision, RecordedEvent } from '../store/event-store.js';
import { categoryOf, checkStream, checkText } from '../store/prepare-append.js';
import type { ProcessBatch } from './process-batch.js';
import type { ProcessState } from './process-state.js';

/** When a timer is due: so long after the event that is being handled was recorded, or at a time. */
export type TimerDue = { readonly afterMs: number } | { readonly at: Date };

/**
 * What a process manager's handler acts through. Everything is kept until the handlers of the batch have ended, and then
 * written in the transaction that moves the checkpoint, or not at all; later handlers see it at once.
 * In a replay nothing is appended again, and timers are set and cancelled again.
 */
export interface Process<State, Own extends object> {
  /** The instance that the event belongs to. */
  readonly key: string;
  /** The instance's own state: what its own events so far have made of it. */
  readonly state: State;
  /** Whether an earlier generation of the process manager has handled the event. */
  readonly replaying: boolean;
  /** Appends an event to the instance's own stream; the state changes at once. */
  record(event: Own): void;
  /**
   * Appends events to another stream, `'any'` expected by default. What is expected counts the events that handlers
   * before this one have added.
   * @throws RevisionConflictError if the stream cannot be where it is expected, InvalidArgumentError
   */
  append(stream: string, events: readonly object[], options?: { readonly expected?: ExpectedRevision }): void;
  /**
   * Sends messages that are no domain events, such as commands to other services: appends them to the messages of the instance,
   * `message-payments-42` for the instance `42` of `payments`, see `messageStreamOf`. A delivery of their types brings them out.
   */
  send(...messages: readonly object[]): void;
  /**
   * Calls an aggregate's domain, and appends what it records at the revision where it was loaded. If somebody else has
   * appended to it meanwhile, all handlers of the batch run once more. What the callback throws comes out as it is; caught
   * there, the aggregate is as it was before.
   * @throws AggregateNotFoundError if it has no events
   */
  update<A extends Aggregate>(
    aggregate: AggregateClass<A>,
    id: string,
    act: (aggregate: A) => unknown,
  ): Promise<void>;
  update<Command, State, Event extends object>(
    aggregate: Decider<Command, State, Event>,
    id: string,
    act: (aggregate: DeciderAggregate<Command, State, Event>) => unknown,
  ): Promise<void>;
  /** Like `update`, beginning with an empty aggregate where there is none. */
  upsert<A extends Aggregate>(
    aggregate: AggregateClass<A>,
    id: string,
    act: (aggregate: A) => unknown,
  ): Promise<void>;
  upsert<Command, State, Event extends object>(
    aggregate: Decider<Command, State, Event>,
    id: string,
    act: (aggregate: DeciderAggregate<Command, State, Event>) => unknown,
  ): Promise<void>;
  /**
   * Sets a timer of the instance, in the place of one of the same name: when it is due, its event is appended to the
   * instance's own stream, once, and handled like any other. Events that were recorded before it was due are handled
   * first.
   * @throws DefinitionError if the process manager has no handler for the event
   */
  schedule(name: string, due: TimerDue, event: object): void;
  /** Removes a timer of the instance. One that is not set, or has fired, is no error. */
  cancel(name: string): void;
}

/** @internal What one call of a handler is about. */
export interface ProcessCall<State, Own extends object> {
  readonly manager: string;
  readonly cause: RecordedEvent;
  readonly key: string;
  readonly own: ProcessState<State, Own>;
  readonly ownType: AggregateType<ProcessState<State, Own>>;
  readonly replaying: boolean;
  /** The names of the event types that the process manager knows. */
  readonly known: ReadonlySet<string>;
}

type Act = (aggregate: Aggregate) => unknown;

/** @internal One call of a handler. */
export class ProcessRun<State, Own extends object> implements Process<State, Own> {
  readonly #call: ProcessCall<State, Own>;
  readonly #batch: ProcessBatch;
  #own: ProcessState<State, Own>;
  #running = 0;
  #ended = false;

  constructor(call: ProcessCall<State, Own>, batch: ProcessBatch) {
    this.#call = call;
    this.#batch = batch;
    this.#own = call.own;
  }

  get key(): string {
    return this.#call.key;
  }

  get state(): State {
    return this.#own.state;
  }

  get replaying(): boolean {
    return this.#call.replaying;
  }

  record(event: Own): void {
    this.#check('record');
    const { ownType, cause, replaying } = this.#call;
    if (replaying) return;
    this.#own.add(event);
    this.#batch.save(ownType, this.#own, cause);
  }

  append(
    stream: string,
    events: readonly object[],
    { expected = 'any' }: { readonly expected?: ExpectedRevision } = {},
  ): void {
    this.#check('append');
    const { manager, cause, replaying } = this.#call;
    checkStream(stream);
    if (categoryOf(stream) === manager) {
      throw new InvalidArgumentError(
        'stream',
        stream,
        'must not be one of the process manager: record there',
      );
    }
    if (!replaying) this.#batch.append(stream, events, expected, cause);
  }

  send(...messages: readonly object[]): void {
    this.append(messageStreamOf(`${this.#call.manager}-${this.key}`), messages);
  }

  update(aggregate: object, id: string, act: (aggregate: never) => unknown): Promise<void> {
    return this.#command('update', aggregate, id, act as Act);
  }

  upsert(aggregate: object, id: string, act: (aggregate: never) => unknown): Promise<void> {
    return this.#command('upsert', aggregate, id, act as Act);
  }

  schedule(name: string, due: TimerDue, event: object): void {
    this.#check('schedule');
    const { manager, key, cause, known } = this.#call;
    checkTimerName(name);
    const type = typeNameOf(event);
    if (!known.has(type)) {
      throw new DefinitionError(
        `Process manager "${manager}"`,
        `it schedules "${type}", which it does not handle: add .on(${type}, …)`,
      );
    }
    this.#batch.schedule({ sequence: key, name, dueAt: dueAt(due, cause) }, event, cause);
  }

  cancel(name: string): void {
    this.#check('cancel');
    checkTimerName(name);
    this.#batch.cancel({ sequence: this.key, name });
  }

  /** The handler has returned. @throws DefinitionError if something that it began has not ended */
  end(): void {
    this.#ended = true;
    if (this.#running > 0) throw this.#late('update');
  }

  #command(call: 'update' | 'upsert', aggregate: object, id: string, act: Act): Promise<void> {
    const done = this.#act(call, aggregateTypeOf(aggregate), id, act);
    // A handler that does not await it fails by `end`; a second report of that must not end the process.
    done.catch(() => undefined);
    return done;
  }

  async #act(call: 'update' | 'upsert', type: AggregateType, id: string, act: Act): Promise<void> {
    this.#check(call);
    if (this.#call.replaying) return;
    this.#running += 1;
    try {
      const aggregate = await this.#batch.load(type, id);
      if (call === 'update' && revisionOf(aggregate) < 0) throw new AggregateNotFoundError(type.category, id);
      await this.#change(type, aggregate, act);
    } finally {
      this.#running -= 1;
    }
  }

  async #change(type: AggregateType, aggregate: Aggregate, act: Act): Promise<void> {
    try {
      const result = act(aggregate);
      if (result instanceof Promise) await result;
      this.#check('update');
    } catch (error) {
      this.#batch.forget(`${type.category}-${aggregate.id}`);
      throw error;
    }
    this.#batch.save(type, aggregate, this.#call.cause);
  }

  #check(call: string): void {
    if (this.#ended) throw this.#late(call);
  }

  #late(call: string): DefinitionError {
    const { manager, cause } = this.#call;
    return new DefinitionError(
      `Process manager "${manager}"`,
      `its handler of ${cause.type} ended before ${call} had: await every call`,
    );
  }
}

const MAX_TIMER_NAME = 256;

function checkTimerName(name: string): void {
  checkText('timer', name, MAX_TIMER_NAME);
}

function dueAt(due: TimerDue, { recordedAt }: RecordedEvent): Date {
  if ('at' in due) {
    if (due.at instanceof Date && !Number.isNaN(due.at.getTime())) return due.at;
    throw new InvalidArgumentError('at', due.at, 'must be a valid date');
  }
  const at = new Date(recordedAt.getTime() + due.afterMs);
  if (due.afterMs >= 0 && !Number.isNaN(at.getTime())) return at;
  throw new InvalidArgumentError('afterMs', due.afterMs, 'must be a number of milliseconds from 0');
}
