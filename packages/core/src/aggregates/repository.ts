import {
  AggregateNotFoundError,
  InvalidArgumentError,
  messageOf,
  RevisionConflictError,
  UnsupportedError,
} from '../errors.js';
import type { EventCodec } from '../events/codec.js';
import { currentMetadata } from '../events/correlation.js';
import type { Clock } from '../clock.js';
import type { Logger } from '../logger.js';
import type {
  AppendOptions,
  AppendResult,
  EventMetadata,
  EventStore,
  ExpectedRevision,
  LogUnit,
  NewEvent,
  ReadStreamOptions,
} from '../store/event-store.js';
import type { StateStore, StateUnit } from '../store/state-store.js';
import { aggregateInternals, revisionOf, type Aggregate } from './aggregate.js';
import { AggregateCache } from './aggregate-cache.js';
import type { AggregateType } from './aggregate-type.js';

/** What a repository needs of its application. */
export interface RepositoryContext {
  readonly log: Pick<EventStore, 'readStream'>;
  readonly append: (
    stream: string,
    events: readonly NewEvent[],
    options: Pick<AppendOptions, 'expected' | 'transaction'> & { readonly messages?: readonly NewEvent[] },
  ) => Promise<AppendResult>;
  readonly state: Pick<StateStore, 'loadSnapshot' | 'saveSnapshot'>;
  readonly codec: EventCodec;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How a repository caches aggregates and how often it tries. */
export interface RepositoryOptions {
  /** How many aggregates `update` keeps in memory, so that it reads only the tail of their streams. Default 1000; 0 keeps none. */
  readonly cacheSize?: number;
  /** How often `update` and `upsert` try before a conflict reaches the caller. Default 10. */
  readonly maxAttempts?: number;
}

/** Which past state to load: that up to a revision, or up to a time (of recording), both inclusive. */
export interface LoadOptions {
  readonly revision?: number;
  readonly time?: Date;
  /** Load it as the transaction of this unit sees it: with what that has appended, and nobody else sees yet. */
  readonly transaction?: StateUnit;
}

/** What goes with the events of one save. */
export interface SaveOptions<A extends Aggregate = Aggregate> {
  /** Metadata for every event and message of this save; it wins over what `withMetadata` set. */
  readonly metadata?: EventMetadata;
  /**
   * Load and append inside the transaction of this unit, see `AppendAllOptions`. There are no second attempts then: the
   * callback may have done more in the transaction, and all of it is to be done again. When the transaction is undone,
   * throw the aggregate away: it takes its events for saved.
   */
  readonly transaction?: StateUnit;
  /**
   * Messages that go with the events, in the same transaction; see `Application.append`. A function is called with the
   * aggregate each time before its events are appended. Where nothing was recorded, nothing is sent.
   */
  readonly messages?: readonly object[] | ((aggregate: A) => readonly object[]);
}

/** Where aggregates are loaded from: the store, or a transaction. */
type Source = Pick<LogUnit, 'readStream'> & Pick<StateUnit, 'loadSnapshot' | 'saveSnapshot'>;

/** What `save` did. */
export interface SaveResult {
  /** The aggregate's revision afterwards. */
  readonly revision: number;
  /** The position to wait for; undefined if there was nothing to save. */
  readonly position: number | undefined;
}

/** What `update`, `upsert` and `create` did, and what the callback returned. */
export interface UpdateResult<Result> extends SaveResult {
  readonly result: Result;
}

/** Loads and saves the aggregates of one type. Make it with `application.repository(Order)`. */
export class Repository<A extends Aggregate> {
  readonly #type: AggregateType<A>;
  readonly #context: RepositoryContext;
  readonly #committed: Source;
  readonly #cache: AggregateCache<A>;
  readonly #maxAttempts: number;

  constructor(type: AggregateType<A>, context: RepositoryContext, options: RepositoryOptions = {}) {
    const { cacheSize = 1000, maxAttempts = 10 } = options;
    if (!Number.isSafeInteger(cacheSize) || cacheSize < 0) {
      throw new InvalidArgumentError('cacheSize', cacheSize, 'must be a whole number from 0');
    }
    if (!Number.isSafeInteger(maxAttempts) || maxAttempts < 1) {
      throw new InvalidArgumentError('maxAttempts', maxAttempts, 'must be a whole number from 1');
    }
    this.#type = type;
    this.#context = context;
    const { log, state } = context;
    this.#committed = {
      readStream: (stream, range) => log.readStream(stream, range),
      loadSnapshot: (stream) => state.loadSnapshot(stream),
      saveSnapshot: (snapshot) => state.saveSnapshot(snapshot),
    };
    this.#cache = new AggregateCache(cacheSize);
    this.#maxAttempts = maxAttempts;
  }

  /** The stream of an aggregate's events: `category-id`. */
  streamOf(id: string): string {
    if (typeof id !== 'string' || id === '')
      throw new InvalidArgumentError('id', id, 'must be a non-empty string');
    return `${this.#type.category}-${id}`;
  }

  /**
   * The aggregate as it is now, or as it was at a revision or time. An aggregate of the past cannot be saved over newer
   * events: that is a conflict like any other.
   * @throws AggregateNotFoundError if it has no events (up to then), InvalidArgumentError
   */
  async load(id: string, options: LoadOptions = {}): Promise<A> {
    const found = await this.find(id, options);
    if (!found) throw new AggregateNotFoundError(this.#type.category, id);
    return found;
  }

  /** Like `load`, with undefined for an aggregate that has no events. */
  async find(id: string, options: LoadOptions = {}): Promise<A | undefined> {
    checkLoadOptions(options);
    const aggregate = await this.#restore(id, options);
    return revisionOf(aggregate) < 0 ? undefined : aggregate;
  }

  /**
   * Appends what the aggregate has recorded, at the revision it was loaded at.
   * @throws RevisionConflictError if its stream has moved on; the recorded events stay pending
   */
  async save(aggregate: A, options: SaveOptions<A> = {}): Promise<SaveResult> {
    const revision = revisionOf(aggregate);
    return this.#append(aggregate, revision < 0 ? 'no-stream' : revision, options);
  }

  /**
   * Begins a new aggregate: `act` is called on an empty one, and what it recorded is appended.
   * @throws RevisionConflictError if one with this id exists; what `act` throws, with nothing appended
   */
  async create<Result>(
    id: string,
    act: (aggregate: A) => Result | Promise<Result>,
    options: SaveOptions<A> = {},
  ): Promise<UpdateResult<Result>> {
    this.streamOf(id);
    return this.#actAndSave(this.#type.create(id), act, 'no-stream', options);
  }

  /**
   * Loads an aggregate, calls `act` on it and appends what it recorded at the expected revision; on a conflict it does
   * all of that again, `act` included, up to `maxAttempts` times (once inside a transaction). What `act` throws reaches the caller as it is, and
   * nothing is appended.
   * @throws AggregateNotFoundError, RevisionConflictError
   */
  async update<Result>(
    id: string,
    act: (aggregate: A) => Result | Promise<Result>,
    options: SaveOptions<A> = {},
  ): Promise<UpdateResult<Result>> {
    return this.#retrying(id, act, options, true);
  }

  /** Like `update`, beginning with an empty aggregate where there is none. */
  async upsert<Result>(
    id: string,
    act: (aggregate: A) => Result | Promise<Result>,
    options: SaveOptions<A> = {},
  ): Promise<UpdateResult<Result>> {
    return this.#retrying(id, act, options, false);
  }

  /** @internal Brings an aggregate that was loaded before to the end of its stream. */
  async refresh(aggregate: A): Promise<void> {
    await this.#fold(aggregate, this.#committed, { from: revisionOf(aggregate) + 1 });
  }

  /** @internal Takes a snapshot of an aggregate that was saved otherwise, if one is due since the revision `before`. */
  async snapshotIfDue(aggregate: A, before: number, transaction: StateUnit): Promise<void> {
    await this.#snapshot(aggregate, before, revisionOf(aggregate), transaction);
  }

  async #retrying<Result>(
    id: string,
    act: (aggregate: A) => Result | Promise<Result>,
    options: SaveOptions<A>,
    mustExist: boolean,
  ): Promise<UpdateResult<Result>> {
    const { transaction } = options;
    const attempts = transaction ? 1 : this.#maxAttempts;
    for (let attempt = 1; ; attempt++) {
      const aggregate = transaction ? await this.#restore(id, { transaction }) : await this.#current(id);
      const revision = revisionOf(aggregate);
      if (mustExist && revision < 0) throw new AggregateNotFoundError(this.#type.category, id);
      try {
        return await this.#actAndSave(aggregate, act, revision < 0 ? 'no-stream' : revision, options);
      } catch (error) {
        const mine = error instanceof RevisionConflictError && error.stream === this.streamOf(id);
        if (!mine || attempt >= attempts) throw error;
        await this.#context.clock.sleep(backoffMs(attempt));
      }
    }
  }

  async #actAndSave<Result>(
    aggregate: A,
    act: (aggregate: A) => Result | Promise<Result>,
    expected: ExpectedRevision,
    options: SaveOptions<A>,
  ): Promise<UpdateResult<Result>> {
    const result = await act(aggregate);
    const saved = await this.#append(aggregate, expected, options);
    // What a transaction has saved may yet be undone.
    const keep = saved.revision >= 0 && !options.transaction && !Object.is(result, aggregate);
    if (keep) this.#cache.put(aggregate);
    return { result, ...saved };
  }

  async #append(
    aggregate: A,
    expected: ExpectedRevision,
    { metadata, transaction, messages = [] }: SaveOptions<A>,
  ): Promise<SaveResult> {
    const { append, codec } = this.#context;
    const before = revisionOf(aggregate);
    const pending = aggregateInternals.peekPending(aggregate);
    if (pending.length === 0) return { revision: before, position: undefined };
    const carried = currentMetadata(metadata);
    const encode = (event: object): NewEvent => codec.encode(event, carried);
    const events = pending.map(encode);
    const beside = typeof messages === 'function' ? messages(aggregate) : messages;
    const { position } = await append(this.streamOf(aggregate.id), events, {
      expected,
      transaction,
      messages: beside.map(encode),
    });
    aggregateInternals.markSaved(aggregate, events.length);
    const revision = revisionOf(aggregate);
    await this.#snapshot(aggregate, before, revision, transaction);
    return { revision, position };
  }

  /** The aggregate from the cache, with the tail of its stream, or else from its snapshot and stream. */
  async #current(id: string): Promise<A> {
    const cached = this.#cache.take(id);
    if (cached && !hasPending(cached)) {
      await this.#fold(cached, this.#committed, { from: revisionOf(cached) + 1 });
      // A callback may have kept the instance and recorded more on it: that is not this update's to append.
      if (!hasPending(cached)) return cached;
    }
    return this.#restore(id, {});
  }

  async #restore(id: string, { revision, time, transaction }: LoadOptions): Promise<A> {
    const stream = this.streamOf(id);
    const source = this.#source(transaction);
    const restored = time ? undefined : await this.#fromSnapshot(id, source, revision ?? Infinity);
    const aggregate = restored ?? this.#type.create(id);
    await this.#fold(aggregate, source, { from: revisionOf(aggregate) + 1, to: revision }, time);
    // That there is nothing may only mean that the unit is another store's: an append of nothing checks it.
    if (transaction && revisionOf(aggregate) < 0) await this.#context.append(stream, [], { transaction });
    return aggregate;
  }

  #source(transaction: StateUnit | undefined): Source {
    if (!transaction) return this.#committed;
    if (hasStreams(transaction)) return transaction;
    throw new UnsupportedError('appends inside a transaction', 'append outside of it');
  }

  async #fold(aggregate: A, source: Source, range: ReadStreamOptions, until?: Date): Promise<void> {
    const { codec } = this.#context;
    // A state is never folded from the events that happen to be in the hot path.
    const reader = source.readStream(this.streamOf(aggregate.id), { ...range, archived: true });
    for await (const { events } of reader.batches()) {
      for (const recorded of events) {
        if (until && recorded.recordedAt > until) return;
        aggregateInternals.fold(aggregate, codec.domainEvent(codec.decode(recorded)));
        aggregateInternals.setRevision(aggregate, recorded.revision);
      }
    }
  }

  /** The aggregate as its snapshot keeps it. One that cannot be used is passed over: the stream has it all. */
  async #fromSnapshot(id: string, source: Source, atMost: number): Promise<A | undefined> {
    const { snapshotEvery, version } = this.#type;
    if (snapshotEvery === undefined) return undefined;
    const stream = this.streamOf(id);
    const snapshot = await source.loadSnapshot(stream);
    if (!snapshot || snapshot.version !== version || snapshot.revision > atMost) return undefined;
    try {
      const aggregate = this.#type.fromSnapshot(id, snapshot.state);
      aggregateInternals.setRevision(aggregate, snapshot.revision);
      return aggregate;
    } catch (error) {
      this.#context.logger.warn(
        `the snapshot of ${stream} at revision ${snapshot.revision} cannot be restored: ${messageOf(error)}`,
      );
      return undefined;
    }
  }

  /** A snapshot is a cache: failing to write one is reported and harms nobody. */
  async #snapshot(
    aggregate: A,
    before: number,
    revision: number,
    transaction: StateUnit | undefined,
  ): Promise<void> {
    const every = this.#type.snapshotEvery;
    if (every === undefined || Math.floor((before + 1) / every) === Math.floor((revision + 1) / every))
      return;
    // What was recorded while the append was under way is in the state already, but not in the stream.
    if (hasPending(aggregate)) return;
    const stream = this.streamOf(aggregate.id);
    try {
      const state = this.#type.toSnapshot(aggregate);
      const snapshot = { stream, revision, version: this.#type.version, state };
      await this.#source(transaction).saveSnapshot(snapshot);
    } catch (error) {
      this.#context.logger.warn(`no snapshot of ${stream} at revision ${revision}: ${messageOf(error)}`);
    }
  }
}

function checkLoadOptions({ revision, time }: LoadOptions): void {
  if (revision !== undefined && (!Number.isSafeInteger(revision) || revision < 0)) {
    throw new InvalidArgumentError('revision', revision, 'must be a whole number from 0');
  }
  // Every comparison with an invalid date is false: it would load the present.
  if (time !== undefined && Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError('time', time, 'must be a valid date');
  }
}

/** Whether a transaction's unit can read streams, as that of a store which is both log and state can. */
function hasStreams(unit: StateUnit): unit is StateUnit & LogUnit {
  return 'readStream' in unit;
}

function hasPending(aggregate: Aggregate): boolean {
  return aggregateInternals.peekPending(aggregate).length > 0;
}

/** Full jitter over a doubling bound. Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015). */
function backoffMs(attempt: number): number {
  return Math.random() * Math.min(100, 2 ** attempt);
}
