import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { hostname } from 'node:os';
import { systemClock, type Clock } from '../clock.js';
import { Flows, type FlowMetrics } from '../deliveries/flow/flow.js';
import { MessageDelivery } from '../deliveries/message-delivery.js';
import { DefinitionError, InvalidArgumentError, UnknownProcessorError } from '../errors.js';
import { EventCodec } from '../events/codec.js';
import type { EventType } from '../events/event-type.js';
import { consoleLogger, type Logger } from '../logger.js';
import { Board } from '../processors/board.js';
import { DeadLetters } from '../processors/dead-letters.js';
import type { Delivery } from '../processors/delivery.js';
import type { DocumentProjection } from '../processors/document-projection.js';
import { Checkpoints } from '../processors/lane-writer.js';
import { LeaseKeeper } from '../processors/lease-keeper.js';
import type { Processor } from '../processors/processor.js';
import type { Projection } from '../processors/projection.js';
import { Wakeup } from '../processors/wakeup.js';
import type { Indexes } from '../store/document-query.js';
import { EventReader } from '../store/event-reader.js';
import type { ReadAllOptions } from '../store/event-store.js';
import type { Failure } from '../store/processor-state.js';
import type { DocumentReader, StateStore, StateUnit } from '../store/state-store.js';
import { baseOf, MOST_PARTS, PartLog, partOf } from './part-log.js';
import { PartRunner, type ReaderParts } from './part-runner.js';
import type { PartitionedLog } from './partitioned-log.js';

/** Where a processor begins that never ran: in every partition at its beginning or end, or behind these positions. */
export type ReadFrom = 'beginning' | 'end' | readonly number[];

/** What a reader is made of. */
export interface LogReaderOptions<Unit extends StateUnit = StateUnit> {
  readonly log: PartitionedLog;
  /** Where read models and checkpoints are. */
  readonly state: StateStore<Unit>;
  readonly projections?: readonly Projection<Unit>[];
  readonly deliveries?: readonly (Delivery<Unit> | MessageDelivery)[];
  /** Event types that no processor names. */
  readonly events?: readonly EventType[];
  /** Default `'beginning'`. */
  readonly startAt?: ReadFrom;
  /** Default: warnings and errors to the console. */
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** As for workers. Default 5,000. */
  readonly leaseMs?: number;
  /** Messages that are handled and committed together, at most. Default 5,000. */
  readonly batchSize?: number;
  /** Names this reader where leases are shown. Default: host, process id and a random part. */
  readonly name?: string;
}

/** How `LogReader.rebuild` goes. */
export interface RereadOptions {
  /** Where it begins. Default `'beginning'`. */
  readonly from?: ReadFrom;
  /** Goes on with a rebuild that was interrupted. Default false. */
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
}

/** Where a processor is in one partition of the log. */
export interface PartStatus {
  readonly partition: number;
  /** Done up to here, as the log counts. */
  readonly position: number;
  /** The last position of the log's partition. */
  readonly head: number;
  readonly holder: string | undefined;
  readonly failure: Failure | undefined;
}

/**
 * Runs projections and deliveries on a log outside of the store, such as a Kafka topic: each partition of the log by itself,
 * in its order, with a checkpoint of its own that commits with the effects. Read models can be rebuilt from any offset that
 * the log still has. Any number of readers may run, in any number of processes: they spread the partitions among them.
 *
 * The sequence of an event is what a processor says; its order is that of the log's partition, so what belongs to one
 * sequence must be in one partition. Process managers and inline projections need a store that is the log itself.
 */
export class LogReader<Unit extends StateUnit = StateUnit> {
  readonly name: string;
  readonly #options: LogReaderOptions<Unit>;
  readonly #processors: readonly Processor<Unit>[];
  readonly #context: ReaderParts<Unit>['context'];
  readonly #flows: Flows;
  readonly #leaseMs: number;
  readonly #leases: LeaseKeeper;
  readonly #checkpoints: Checkpoints;

  constructor(options: LogReaderOptions<Unit>) {
    const { state, projections = [], deliveries = [], events = [], leaseMs = 5000 } = options;
    const { logger = consoleLogger, clock = systemClock } = options;
    this.name = options.name ?? `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
    this.#options = options;
    this.#processors = [...projections, ...deliveries];
    checkProcessors(this.#processors);
    const codec = new EventCodec([...this.#processors.flatMap(({ eventTypes }) => eventTypes), ...events]);
    this.#flows = new Flows(clock);
    this.#context = {
      ...{ state, codec, clock, logger, flows: this.#flows },
      ...{ commits: new Wakeup(), control: new Wakeup() },
    };
    this.#leaseMs = leaseMs;
    this.#leases = new LeaseKeeper(this.#context, leaseMs);
    this.#checkpoints = new Checkpoints(state);
  }

  /**
   * Follows the log until the signal aborts; batches in hand are finished then, and leases given back. A processor that
   * stops at an error stops alone. Resolves when all have ended.
   * @throws ProcessorStoppedError of the processor that stopped, or an AggregateError of several
   */
  async run({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const over = AbortSignal.any(signal ? [signal] : []);
    setMaxListeners(0, over);
    const runners: PartRunner<Unit>[] = [];
    const board = new Board(this.#context.state, this.#context.clock, {
      name: this.name,
      ttlMs: this.#leaseMs,
      processors: () => runners.map(({ processor }) => `${processor.name}@${processor.version}`),
      report: () => runners.map((one) => ({ processor: one.processor.name, lanes: one.reports() })),
    });
    const parts = await this.#parts(board, true);
    runners.push(...this.#processors.map((processor) => new PartRunner(processor, parts)));
    try {
      await this.#all(runners, (runner) => runner.run(true, over));
    } finally {
      await board.leave().catch(() => undefined);
    }
  }

  /** Brings all processors to where the log reaches now, and ends. @throws like `run` */
  async catchUp({
    signal = new AbortController().signal,
  }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const parts = await this.#parts(new Board(this.#context.state, this.#context.clock), false);
    const runners = this.#processors.map((processor) => new PartRunner(processor, parts));
    await this.#all(runners, (runner) => runner.run(false, signal));
  }

  /**
   * Builds a read model anew from any offsets, partition by partition beside the live one, which goes on being served and
   * kept up; then swaps the two in one step. A log whose partitions have become more is taken up by it.
   * @throws ProcessorStoppedError when a handler fails; the live one is as it was. The signal's reason
   */
  async rebuild(
    processor: Processor<Unit> | string,
    { from = 'beginning', resume = false, signal = new AbortController().signal }: RereadOptions = {},
  ): Promise<void> {
    const own = this.#own(processor);
    const parts = await this.#parts(new Board(this.#context.state, this.#context.clock), false);
    const runner = new PartRunner(own, parts);
    await runner.build(await runner.prepare(await this.#positions(from, parts.count), resume), signal);
    signal.throwIfAborted();
  }

  /** The documents of a projection as its live read model holds them now. */
  readModel<Doc, Fields extends Indexes>(
    projection: DocumentProjection<Doc, Fields>,
  ): DocumentReader<Doc, Fields>;
  readModel(projection: DocumentProjection<unknown>): DocumentReader {
    const [collection] = this.#own(projection).collections;
    return this.#options.state.documents(projection.name, collection?.indexes);
  }

  /** Where a processor is, partition by partition. */
  async status(processor: Processor<Unit> | string): Promise<PartStatus[]> {
    const { name } = this.#own(processor);
    const { state } = this.#context;
    const live = (await state.generations(name)).find(({ status }) => status === 'live');
    const rows = (await state.partitions(name))
      .filter(({ generation }) => generation === live?.generation)
      .sort((one, other) => one.firstSlice - other.firstSlice);
    const now = this.#context.clock.now();
    return Promise.all(
      rows.map(async ({ position, holder, leaseExpiresAt, failure }, partition) => ({
        partition,
        position: Math.max(0, position - baseOf(partition)),
        head: Math.max(0, (await this.#options.log.bounds(partition)).last),
        holder: (leaseExpiresAt?.getTime() ?? 0) > now ? holder : undefined,
        failure,
      })),
    );
  }

  /** What this reader has done for a processor since it was made, which is only part of it where others share it. */
  metrics(processor: Processor<Unit> | string): FlowMetrics {
    return this.#flows.of(this.#own(processor)).metrics();
  }

  /**
   * A processor's dead letters, as `application.processor(name).deadLetters` has them. Their positions tell the partitions
   * apart: those of partition `n` begin behind n × 2^42.
   */
  deadLetters(processor: Processor<Unit> | string): DeadLetters<Unit> {
    const { name } = this.#own(processor);
    return new DeadLetters(name, {
      ...this.#context,
      log: { ...noLog, readAll: (read) => this.#window(read) },
    });
  }

  /** Closes the log, and transports of deliveries. The state is closed by whoever opened it. Stop runs first. */
  async close(): Promise<void> {
    const transports = this.#processors.flatMap((one) =>
      one instanceof MessageDelivery ? [one.transport] : [],
    );
    await Promise.all([this.#options.log, ...transports].map((one) => one.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #parts(board: Board, shares: boolean): Promise<ReaderParts<Unit>> {
    const { log, startAt = 'beginning', batchSize = 5000 } = this.#options;
    const count = await log.partitions();
    if (count < 1 || count > 1024) {
      throw new InvalidArgumentError('log', log.name, `must have 1 to 1,024 partitions, has ${count}`);
    }
    return {
      ...{ log, count, board, shares, batchSize },
      context: this.#context,
      leases: this.#leases,
      checkpoints: this.#checkpoints,
      holder: this.name,
      leaseMs: this.#leaseMs,
      startAfter: () => this.#positions(startAt, count),
    };
  }

  async #positions(from: ReadFrom, count: number): Promise<readonly number[]> {
    if (typeof from === 'object') return from;
    const { log } = this.#options;
    const bounds = await Promise.all(Array.from({ length: count }, (_, part) => log.bounds(part)));
    return bounds.map(({ first, last }) => Math.max(0, from === 'end' ? last : first - 1));
  }

  #window(read: ReadAllOptions = {}): EventReader {
    const part = Math.min(MOST_PARTS - 1, partOf(read.to ?? 1));
    const log = new PartLog(this.#options.log, part);
    return new EventReader(
      (async function* () {
        try {
          yield* log.readAll(read).batches();
        } finally {
          await log.close();
        }
      })(),
    );
  }

  async #all(
    runners: readonly PartRunner<Unit>[],
    work: (runner: PartRunner<Unit>) => Promise<void>,
  ): Promise<void> {
    const ends = await Promise.allSettled(
      runners.map(async (runner) => {
        try {
          await work(runner);
        } catch (error) {
          this.#context.logger.error(error instanceof Error ? error.message : String(error));
          throw error;
        }
      }),
    );
    const failures = ends.flatMap((end): unknown[] => (end.status === 'rejected' ? [end.reason] : []));
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, `${failures.length} processors stopped`);
  }

  #own(processor: Processor<Unit> | string): Processor<Unit> {
    const name = typeof processor === 'string' ? processor : processor.name;
    const own = this.#processors.find((one) => one.name === name);
    if (own) return own;
    const names = this.#processors.map((one) => one.name);
    throw new UnknownProcessorError(name, names);
  }
}

const noLog = {
  head: () => Promise.resolve(0),
  changes: () => Promise.reject(new Error('Nothing waits here')),
};

/**
 * Puts a reader of a partitioned log together:
 * `logReader({ log: kafkaTopic({ kafka, topic: 'orders' }), state, projections: [orderBook] })`.
 * @throws DefinitionError for two processors of one name, one without events, or an inline one
 */
export function logReader<Unit extends StateUnit>(options: LogReaderOptions<Unit>): LogReader<Unit> {
  return new LogReader(options);
}

function checkProcessors<Unit extends StateUnit>(processors: readonly Processor<Unit>[]): void {
  const names = new Set<string>();
  for (const { name, eventTypes, everyType, mode } of processors) {
    const subject = `Processor "${name}"`;
    if (names.has(name)) throw new DefinitionError(subject, 'there are two of that name');
    if (mode === 'inline')
      throw new DefinitionError(subject, "a log outside of the store cannot be read inline: mode 'async'");
    if (eventTypes.length === 0 && !everyType) {
      throw new DefinitionError(subject, 'it handles no event: add handlers with .on(EventType, …)');
    }
    names.add(name);
  }
}
