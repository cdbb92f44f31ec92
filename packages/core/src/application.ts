import type { Aggregate } from './aggregates/aggregate.js';
import { aggregateTypeOf, type AggregateClass, type AggregateType } from './aggregates/aggregate-type.js';
import type { AnyDecider, Decider, DeciderAggregate } from './aggregates/decider.js';
import { Repository, type RepositoryContext, type RepositoryOptions } from './aggregates/repository.js';
import { checkNames, checkStreams } from './application-checks.js';
import { systemClock, type Clock } from './clock.js';
import { ImportItemError, InvalidArgumentError, UnknownProcessorError, UnsupportedError } from './errors.js';
import { EventCodec } from './events/codec.js';
import { currentMetadata } from './events/correlation.js';
import type { DataOf, EventType } from './events/event-type.js';
import type { ReceivedMessage } from './deliveries/cloud-events.js';
import { Inbox, type InboxOptions } from './inbox/inbox.js';
import type { Receiver } from './inbox/receiver.js';
import { Receivers } from './inbox/receivers.js';
import { consoleLogger, type Logger } from './logger.js';
import {
  archiveMessages,
  type ArchiveMessagesOptions,
  type ArchiveMessagesResult,
} from './messages/archive-messages.js';
import { appendBeside } from './messages/message-stream.js';
import type { DocumentProjection } from './processors/document-projection.js';
import { surrounded, type AroundBatch } from './processors/around-batch.js';
import { InlineProjections } from './processors/inline.js';
import type { ProcessorContext } from './processors/context.js';
import { Flows } from './deliveries/flow/flow.js';
import { HeldAppends, type HoldAppendsOptions } from './deliveries/flow/held-appends.js';
import { MessageDelivery } from './deliveries/message-delivery.js';
import type { Transport } from './deliveries/transport.js';
import type { Delivery } from './processors/delivery.js';
import type { ProcessHost } from './processors/process-batch.js';
import type { AnyProcessManager } from './processors/process-manager.js';
import type { Processor } from './processors/processor.js';
import { ProcessorHandle, type RebuildOptions } from './processors/processor-handle.js';
import type { Projection } from './processors/projection.js';
import { statusOf, waitForPosition, type ProcessorStatus, type WaitOptions } from './processors/status.js';
import { Wakeup } from './processors/wakeup.js';
import { Worker, type RunOptions, type WorkerOptions } from './processors/worker.js';
import type { Indexes } from './store/document-query.js';
import type { EventReader } from './store/event-reader.js';
import type {
  AppendAllOptions,
  AppendResult,
  EventMetadata,
  EventStore,
  ExpectedRevision,
  ImportedEvent,
  ImportOptions,
  ImportProgress,
  ImportResult,
  LogUnit,
  NewEvent,
  ReadAllOptions,
  ReadStreamOptions,
  StreamAppend,
} from './store/event-store.js';
import { checkPosition } from './store/read-range.js';
import type { DocumentReader, StateStore, StateUnit } from './store/state-store.js';

/** A store that is both the log and the state. */
export type Store<Unit extends StateUnit = StateUnit> = EventStore<Unit> & StateStore<Unit & LogUnit>;

/** What an application is made of. */
export interface ApplicationOptions<Unit extends StateUnit = StateUnit> {
  /** The log and the state. */
  readonly store: Store<Unit>;
  /** Aggregate classes and deciders. */
  readonly aggregates?: readonly (AggregateClass | AnyDecider)[];
  readonly projections?: readonly Projection<Unit>[];
  readonly deliveries?: readonly (Delivery<Unit> | MessageDelivery)[];
  readonly processManagers?: readonly AnyProcessManager[];
  /** What handles messages of other services; see `Application.receive`. */
  readonly receivers?: readonly Receiver<Unit>[];
  /** Event types that no aggregate or projection names. */
  readonly events?: readonly EventType[];
  /** Default: warnings and errors to the console. */
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Has appends and saves of this process wait while deliveries are too far behind. Default: they do not. */
  readonly holdAppends?: HoldAppendsOptions;
  /** Runs around every batch of handlers of every processor. */
  readonly aroundBatch?: AroundBatch<Unit>;
}

/** Options of `Application.append`. */
export interface AppendEventsOptions extends Pick<AppendAllOptions, 'transaction'> {
  /** Default `'any'`. */
  readonly expected?: ExpectedRevision;
  /** Metadata for every event and message; it wins over what `withMetadata` set. */
  readonly metadata?: EventMetadata;
  /**
   * Messages that are no domain events, declared like events: appended in the same transaction, to the stream that
   * `messageStreamOf` names. The position of the result is then that of the last message. No expectation of an append
   * without events is checked.
   */
  readonly messages?: readonly object[];
}

/** One event of `Application.import`, for the end of its stream. */
export interface EventToImport extends Pick<ImportedEvent, 'stream' | 'id' | 'recordedAt'> {
  readonly event: object;
  /** It wins over what `withMetadata` set. */
  readonly metadata?: EventMetadata;
}

/** The items of an import behind the first `after` ones, see `ImportSource`. */
export type EventSource = (after: number) => Iterable<EventToImport> | AsyncIterable<EventToImport>;

/** Which events `Application.events` reads. */
export interface EventsOptions<T extends EventType = EventType> extends Omit<ReadAllOptions, 'filter'> {
  /** Only events of these types; what is read is then typed as theirs. */
  readonly types?: readonly T[];
  /** Only events of streams in these categories. */
  readonly categories?: readonly string[];
}

/**
 * Store, aggregates, projections, deliveries and process managers, put together in one place: repositories, workers,
 * rebuilds and read models all start from it. Make it with `createApplication`.
 */
export class Application<Unit extends StateUnit = StateUnit> {
  readonly #log: EventStore<Unit>;
  readonly #state: StateStore<Unit>;
  readonly #processors: readonly Processor<Unit>[];
  readonly #context: ProcessorContext<Unit>;
  readonly #inline: InlineProjections<Unit>;
  readonly #held: HeldAppends<Unit> | undefined;
  readonly #transports: readonly Transport[];
  readonly #receivers: Receivers<Unit>;
  readonly #repositories = new Map<object, Repository<Aggregate>>();
  #inlineReady: Promise<void> | undefined;

  constructor(options: ApplicationOptions<Unit>) {
    const { store, aggregates = [], projections = [], deliveries = [], events = [] } = options;
    const { processManagers = [], receivers = [], aroundBatch } = options;
    const { logger = consoleLogger, clock = systemClock } = options;
    const aggregateTypes = aggregates.map((one) => aggregateTypeOf(one));
    const unbound: readonly Processor<Unit>[] = [...projections, ...deliveries];
    checkNames({ projections, deliveries, processManagers, receivers });
    checkStreams(processManagers, aggregateTypes);
    const codec = new EventCodec([
      ...aggregateTypes.flatMap(({ eventTypes }) => eventTypes),
      ...unbound.flatMap(({ eventTypes }) => eventTypes),
      ...processManagers.flatMap((one) => [...one.eventTypes, ...one.ownEventTypes]),
      ...events,
    ]);
    const inline = unbound.some(({ mode }) => mode === 'inline');
    if (inline && !store.supports.inline) {
      throw new UnsupportedError('inline projections', "declare them with mode: 'async'");
    }
    if (processManagers.length > 0 && !store.supports.transactions) {
      throw new UnsupportedError('process managers', 'use a store that is both the log and the state');
    }
    this.#log = store;
    this.#state = store;
    const host = this.#processHost(codec);
    const bound = [...unbound, ...processManagers.map((one): Processor<Unit> => one.bind(host))];
    this.#processors = aroundBatch ? bound.map((one) => surrounded(one, aroundBatch)) : bound;
    this.#transports = deliveries.flatMap((one) => (one instanceof MessageDelivery ? [one.transport] : []));
    this.#context = {
      ...{ log: store, state: store, codec, clock, logger },
      flows: new Flows(clock),
      commits: new Wakeup(),
      control: new Wakeup(),
    };
    const inbox = (name: string, own: InboxOptions): Inbox<Unit> => this.inbox(name, own);
    this.#receivers = new Receivers(receivers, { inbox, aroundBatch });
    const { holdAppends } = options;
    const names = deliveries.map(({ name }) => name);
    this.#held = holdAppends && new HeldAppends(holdAppends, names, this.#context);
    this.#inline = new InlineProjections(
      this.#processors.filter(({ mode }) => mode === 'inline'),
      this.#context,
    );
  }

  /** The repository of an aggregate class or a decider; one for each, with its cache, unless options ask for another. */
  repository<A extends Aggregate>(aggregate: AggregateClass<A>, options?: RepositoryOptions): Repository<A>;
  repository<Command, State, Event extends object>(
    aggregate: Decider<Command, State, Event>,
    options?: RepositoryOptions,
  ): Repository<DeciderAggregate<Command, State, Event>>;
  repository(aggregate: AggregateClass | AnyDecider, options?: RepositoryOptions): Repository<Aggregate>;
  repository(aggregate: object, options?: RepositoryOptions): Repository<Aggregate> {
    const known = options ? undefined : this.#repositories.get(aggregate);
    if (known) return known;
    const repository = this.#createRepository(aggregateTypeOf(aggregate), options);
    if (!options) this.#repositories.set(aggregate, repository);
    return repository;
  }

  /**
   * Appends events that no aggregate records, e.g. those of an import.
   * @throws what `EventStore.append` throws, UnknownEventTypeError, InlineProjectionError
   */
  async append(
    stream: string,
    events: readonly object[],
    { metadata, messages = [], ...options }: AppendEventsOptions = {},
  ): Promise<AppendResult> {
    const carried = currentMetadata(metadata);
    const encode = (event: object): NewEvent => this.#context.codec.encode(event, carried);
    return this.#append(stream, events.map(encode), { ...options, messages: messages.map(encode) });
  }

  /**
   * Runs the callback in one transaction of the store: appends, saves and updates that are given its unit as `transaction`
   * are committed together with whatever else it writes, or not at all.
   * @throws what `StateStore.transaction` throws
   */
  async transaction<Result>(work: (unit: Unit) => Promise<Result>): Promise<Result> {
    // Inside it, a read model could not be created.
    await this.#prepareInline();
    return this.#state.transaction(work);
  }

  /**
   * An inbox of this name, whose work can append with `{ transaction: unit }`; see `createInbox`.
   * @throws InvalidArgumentError for a bad name or option
   */
  inbox(name: string, options: InboxOptions = {}): Inbox<Unit> {
    const store = {
      transaction: <Result>(work: (unit: Unit) => Promise<Result>) => this.transaction(work),
      forgetReceived: this.#state.forgetReceived.bind(this.#state),
    };
    return new Inbox(store, name, { ...options, logger: options.logger ?? this.#context.logger });
  }

  /**
   * Hands a message that has arrived to the handler of its type, unless it was handled before: what the handler writes with its
   * unit and the memory of the message are one transaction, see `Inbox.once`. `duplicate` says that it was. Acknowledge the
   * message when the promise has resolved: `consumer.run((message) => app.receive(payments, message), { signal })`.
   * @throws UnknownMessageTypeError, DecodeError, UnknownEventVersionError, InvalidArgumentError, and what `Inbox.once` throws
   */
  async receive(
    receiver: Receiver<Unit> | string,
    message: ReceivedMessage,
  ): Promise<{ readonly duplicate: boolean }> {
    return { duplicate: await this.#receivers.receive(receiver, message) };
  }

  /**
   * Loads many events fast, in the order of their source; see `EventStore.import`. Inline projections are brought up to
   * date behind every chunk, before the next is written.
   * @throws what `EventStore.import` throws, ProcessorStoppedError when an inline projection fails
   */
  async import(name: string, source: EventSource, options: ImportOptions = {}): Promise<ImportResult> {
    await this.#prepareInline();
    const inline = this.#processors.filter(({ mode }) => mode === 'inline');
    const onProgress = async (progress: ImportProgress): Promise<void> => {
      for (const projection of inline) await this.#inline.catchUp(projection, options.signal);
      await options.onProgress?.(progress);
    };
    return this.#log.import(name, (after) => this.#encoded(name, source, after), { ...options, onProgress });
  }

  /** Reads the log, decoded. Without `types`, every event's type must be known to the application. */
  events<T extends EventType>({ types, categories, ...range }: EventsOptions<T> = {}): EventReader<
    DataOf<T>
  > {
    const { codec } = this.#context;
    const filter = { types: types && codec.storedNames(types), categories };
    // The filter lets only events of these types through, which the codec cannot say.
    return codec.decodeAll(this.#log.readAll({ ...range, filter })) as EventReader<DataOf<T>>;
  }

  /** Reads one stream, decoded. */
  streamEvents(stream: string, options?: ReadStreamOptions): EventReader {
    return this.#context.codec.decodeAll(this.#log.readStream(stream, options));
  }

  /** The position of the last event, 0 for an empty log. */
  head(): Promise<number> {
    return this.#log.head();
  }

  /**
   * A worker for all processors, or for those named. Any number may run, in any number of processes: they share the
   * partitions.
   */
  worker(
    options: WorkerOptions & { readonly processors?: readonly (Processor<Unit> | string)[] } = {},
  ): Worker<Unit> {
    const chosen = options.processors?.map((one) => this.#own(one)) ?? this.#processors;
    return new Worker(chosen, this.#inline, this.#context, options);
  }

  /** Steers one processor: status, pause and resume, reset, split and merge, rebuild and rollback, dead letters. */
  processor(processor: Processor<Unit> | string): ProcessorHandle<Unit> {
    return new ProcessorHandle(this.#own(processor), this.#context, (own, { onProgress }) =>
      this.worker({ processors: [own], onProgress }),
    );
  }

  /** Brings every processor to the present head of the log, and ends. @throws like `Worker.run` */
  catchUp({ signal, ...options }: WorkerOptions & RunOptions = {}): Promise<void> {
    return this.worker(options).catchUp({ signal });
  }

  /**
   * Builds a read model anew beside the live one, from the whole log or from the events behind a position, and swaps
   * it in in one step. The live one is served and kept up meanwhile, and is untouched if the build fails.
   * @throws ProcessorStoppedError when a handler fails, the signal's reason when it aborts
   */
  rebuild(projection: Projection<Unit> | string, options?: RebuildOptions): Promise<void> {
    return this.processor(projection).rebuild(options);
  }

  /** The documents of a projection as its live read model holds them now. */
  readModel<Doc, Fields extends Indexes>(
    projection: DocumentProjection<Doc, Fields>,
  ): DocumentReader<Doc, Fields>;
  /** Those of one collection of a custom projection. @throws InvalidArgumentError if it has no such documents */
  readModel<Doc>(projection: Projection<Unit>, collection: string): DocumentReader<Doc>;
  readModel(projection: Projection<Unit>, collection = projection.name): DocumentReader {
    const { collections } = this.#own(projection);
    const declared = collections.find(({ name, kind }) => name === collection && kind === 'documents');
    if (declared) return this.#state.documents(collection, declared.indexes);
    throw new InvalidArgumentError('collection', collection, `must be documents of "${projection.name}"`);
  }

  /**
   * Resolves when a projection's live read model has everything up to a position, such as an append returned.
   * @throws WaitTimeoutError, ProcessorStoppedError if it has stopped, the signal's reason
   */
  async waitFor(processor: Processor<Unit> | string, position: number, options?: WaitOptions): Promise<void> {
    checkPosition('position', position);
    await waitForPosition(this.#own(processor), position, this.#context, options);
  }

  /** Where every processor is, whether anything runs it, and why it stopped if it did. */
  status(): Promise<ProcessorStatus[]> {
    return statusOf(this.#processors, this.#context);
  }

  /**
   * Moves old messages that were appended beside events out of the hot path, where every processor is behind them and none
   * has them as a dead letter; see `truncateStream`. Goes on where the last call has ended; while another call is under way,
   * in this process or another, it does nothing.
   * @throws UnsupportedError, InvalidArgumentError, the signal's reason between two batches
   */
  archiveMessages(options: ArchiveMessagesOptions): Promise<ArchiveMessagesResult> {
    const processors = this.#processors.map(({ name }) => name);
    return archiveMessages({ ...this.#context, log: this.#log, processors }, options);
  }

  /** Closes the transports of its deliveries, and the store. Stop workers first. */
  async close(): Promise<void> {
    await Promise.all(this.#transports.map((transport) => transport.close()));
    await this.#log.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #createRepository<A extends Aggregate>(type: AggregateType<A>, options?: RepositoryOptions): Repository<A> {
    const { codec, clock, logger } = this.#context;
    const append: RepositoryContext['append'] = (stream, events, how) => this.#append(stream, events, how);
    return new Repository(
      type,
      { log: this.#log, state: this.#state, append, codec, clock, logger },
      options,
    );
  }

  /** Every append of the application goes through here, so that no inline projection is left out. */
  async #append(
    stream: string,
    events: readonly NewEvent[],
    { messages, ...options }: Parameters<RepositoryContext['append']>[2],
  ): Promise<AppendResult> {
    // A transaction that is open would wait for the preparation, and that for it: what is not prepared catches up later.
    if (!options.transaction) {
      await this.#held?.pass();
      await this.#prepareInline();
    }
    const all = { ...options, inline: this.#inline.hook() };
    if (messages && messages.length > 0) return appendBeside(this.#log, stream, events, messages, all);
    return this.#log.append(stream, events, all);
  }

  /** What process managers act through. */
  #processHost(codec: EventCodec): ProcessHost {
    return {
      codec,
      repository: (type) => this.#createRepository(type, { cacheSize: 0 }),
      appendIn: (transaction) => (appends) => this.#appendAll(appends, { transaction }),
      idsOf: async (stream) => new Set((await this.#log.readStream(stream).toArray()).map(({ id }) => id)),
    };
  }

  /** Several streams at once, where the store can. */
  async #appendAll(
    appends: readonly StreamAppend[],
    options: Pick<AppendAllOptions, 'transaction'>,
  ): Promise<readonly AppendResult[]> {
    if (this.#log.supports.multiStreamAppend) {
      return this.#log.appendAll(appends, { ...options, inline: this.#inline.hook() });
    }
    const results: AppendResult[] = [];
    for (const { stream, events, expected } of appends) {
      results.push(await this.#append(stream, events, { ...options, expected }));
    }
    return results;
  }

  /** The items with their events encoded, without waiting for a source that need not be waited for. */
  #encoded(
    name: string,
    source: EventSource,
    after: number,
  ): Iterable<ImportedEvent> | AsyncIterable<ImportedEvent> {
    const { codec } = this.#context;
    let item = after;
    const encode = ({ stream, event, metadata, recordedAt, id }: EventToImport): ImportedEvent => {
      item += 1;
      try {
        const {
          id: newId,
          type,
          version,
          data,
          metadata: carried,
        } = codec.encode(event, currentMetadata(metadata));
        return { id: id ?? newId, type, version, data, metadata: carried, stream, recordedAt };
      } catch (error) {
        throw new ImportItemError(name, item, stream, error);
      }
    };
    const items = source(after);
    return Symbol.asyncIterator in items ? mapAwaited(items, encode) : mapped(items, encode);
  }

  async #prepareInline(): Promise<void> {
    const inline = this.#processors.filter(({ mode }) => mode === 'inline');
    if (inline.length > 0) await (this.#inlineReady ??= this.#makeLive(inline));
  }

  async #makeLive(inline: readonly Processor<Unit>[]): Promise<void> {
    try {
      const worker = this.worker({ processors: inline });
      const signal = new AbortController().signal;
      for (const projection of inline) await worker.prepareInline(projection, signal);
    } catch (error) {
      this.#inlineReady = undefined;
      throw error;
    }
  }

  #own(processor: Processor<Unit> | string): Processor<Unit> {
    const name = typeof processor === 'string' ? processor : processor.name;
    const own = this.#processors.find((one) => one.name === name);
    if (own) return own;
    throw new UnknownProcessorError(
      name,
      this.#processors.map((one) => one.name),
    );
  }
}

function* mapped<Item, Result>(items: Iterable<Item>, map: (item: Item) => Result): Generator<Result> {
  for (const item of items) yield map(item);
}

async function* mapAwaited<Item, Result>(
  items: AsyncIterable<Item>,
  map: (item: Item) => Result,
): AsyncGenerator<Result> {
  for await (const item of items) yield map(item);
}

/**
 * Puts an application together and checks it.
 * @throws DefinitionError for anything undeclared or declared twice, UnsupportedError for what the store cannot do
 */
export function createApplication<Unit extends StateUnit>(
  options: ApplicationOptions<Unit>,
): Application<Unit> {
  return new Application(options);
}
