import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../clock.js';
import { LeaseLostError, messageOf, ProcessorOutdatedError, ProcessorStoppedError } from '../errors.js';
import type { EventCodec } from '../events/codec.js';
import type { Logger } from '../logger.js';
import type { EventBatch } from '../store/event-reader.js';
import type { EventStore, RecordedEvent } from '../store/event-store.js';
import type { Lease } from '../store/processor-state.js';
import type { Generation, StateStore, StateUnit } from '../store/state-store.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { ProgressMeter, type OnProgress } from './progress.js';
import {
  decodeOrFail,
  failedEvent,
  HandlerError,
  type Projection,
  type ProjectionHandler,
} from './projection.js';
import { isTransient, untilAvailable } from './transient.js';
import type { Wakeup } from './wakeup.js';

/** What every processor of an application works with. */
export interface ProcessorContext<Unit extends StateUnit = StateUnit> {
  readonly log: EventStore<Unit>;
  readonly state: StateStore<Unit>;
  readonly codec: EventCodec;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Woken by every commit of this process's processors. */
  readonly commits: Wakeup;
}

export interface ProcessorOptions {
  /** Identifies the worker that holds the lease. */
  readonly holder: string;
  /** How long a lease lasts without renewal. */
  readonly leaseMs: number;
  /** Events read and committed at once, at most. */
  readonly batchSize: number;
  /** Called after every commit. */
  readonly onProgress?: OnProgress;
  /** Renews the leases of the worker's processors. */
  readonly leases: LeaseKeeper;
}

/** Where a run ends: at a position, or never (it follows the log until its signal aborts). */
export type RunUntil = number | 'forever';

/**
 * One processor of one application: reads the log behind its checkpoint, hands events to the projection's handler, and
 * commits effects and checkpoint in one transaction that its lease guards.
 */
export class Processor<Unit extends StateUnit = StateUnit> {
  readonly projection: Projection<Unit>;
  readonly #context: ProcessorContext<Unit>;
  readonly #options: ProcessorOptions;
  readonly #types: readonly string[];
  #lost: { readonly error: LeaseLostError; readonly generation: number } | undefined;

  constructor(projection: Projection<Unit>, context: ProcessorContext<Unit>, options: ProcessorOptions) {
    this.projection = projection;
    this.#context = context;
    this.#options = options;
    this.#types = context.codec.storedNames(projection.eventTypes);
  }

  /**
   * Works on the generation that `choose` names, from its checkpoint, until `until` is reached or the signal aborts.
   * While another holds the lease, and after losing it, it waits, asks `choose` again, and goes on from the checkpoint
   * it finds. Resolves with true once `until` is reached; with false if the signal, or `choose` with undefined, ended
   * the run before.
   * @throws ProcessorStoppedError when the handler fails; everything before the failed event is committed
   */
  async run(
    choose: () => Promise<Generation | undefined>,
    until: RunUntil,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { clock, commits, logger } = this.#context;
    const { name } = this.projection;
    let waiting = false;
    while (!signal.aborted) {
      const attempt = await untilAvailable(
        `processor "${name}"`,
        () => this.#attempt(choose, until, signal),
        this.#context,
        signal,
      );
      if (typeof attempt === 'boolean') return attempt;
      if (attempt === 'held' && !waiting)
        logger.info(`"${name}" is held by another worker: waiting for its lease`);
      waiting = attempt === 'held';
      if (!waiting) continue;
      if (until === 'forever') await clock.sleep(Math.min(500, this.#options.leaseMs / 4), signal);
      else await commits.wait(50, clock, signal);
    }
    return false;
  }

  /** One try: the result of the whole run, or why there must be another try. */
  async #attempt(
    choose: () => Promise<Generation | undefined>,
    until: RunUntil,
    signal: AbortSignal,
  ): Promise<boolean | 'held' | 'again'> {
    const generation = await choose();
    if (!generation) return false;
    this.#reportLost(generation);
    const lease = await this.#acquire(generation);
    if (lease) return this.#runLeased(generation, lease, until, signal);
    return until !== 'forever' && (await this.#positionOf(generation)) >= until ? true : 'held';
  }

  #acquire({ processor, generation }: Generation): Promise<Lease | undefined> {
    const { holder, leaseMs } = this.#options;
    return this.#context.state.acquireLease(
      { processor, generation, firstSlice: 0 },
      { holder, ttlMs: leaseMs },
    );
  }

  async #positionOf({ processor, generation }: Generation): Promise<number> {
    const partitions = await this.#context.state.partitions(processor);
    return Math.min(
      ...partitions.filter((one) => one.generation === generation).map(({ position }) => position),
    );
  }

  /** A lease lost to another worker is worth a warning; one lost to the swap after a rebuild is how it is meant. */
  #reportLost(next: Generation): void {
    const { logger } = this.#context;
    const lost = this.#lost;
    if (!lost) return;
    this.#lost = undefined;
    if (lost.generation === next.generation) logger.warn(lost.error.message);
    else logger.info(`processor "${next.processor}" goes on with generation ${next.generation}`);
  }

  /** Whether the run reached `until`; 'again' if it lost its lease before. */
  async #runLeased(
    generation: Generation,
    lease: Lease,
    until: RunUntil,
    signal: AbortSignal,
  ): Promise<boolean | 'again'> {
    const run = new LeasedRun(this.projection, generation, lease, this.#types, this.#context, this.#options);
    try {
      const position = await run.run(until, signal);
      return until !== 'forever' && position >= until;
    } catch (error) {
      if (!(error instanceof LeaseLostError)) throw error;
      this.#lost = { error, generation: generation.generation };
      return 'again';
    }
  }
}

/** One run under one lease. */
class LeasedRun<Unit extends StateUnit> {
  readonly #projection: Projection<Unit>;
  readonly #handler: ProjectionHandler<Unit>;
  readonly #generation: Generation;
  readonly #lease: Lease;
  readonly #types: readonly string[];
  readonly #context: ProcessorContext<Unit>;
  readonly #options: ProcessorOptions;
  readonly #meter: ProgressMeter;
  #position: number;

  constructor(
    projection: Projection<Unit>,
    generation: Generation,
    lease: Lease,
    types: readonly string[],
    context: ProcessorContext<Unit>,
    options: ProcessorOptions,
  ) {
    this.#projection = projection;
    this.#handler = projection.handler(generation.generation);
    this.#generation = generation;
    this.#lease = lease;
    this.#types = types;
    this.#context = context;
    this.#options = options;
    this.#position = lease.position;
    this.#meter = new ProgressMeter(projection.name, lease.position, context.clock);
  }

  /** Runs with the lease renewed on a loop of its own, records why it stopped, and gives the lease back. */
  async run(until: RunUntil, signal: AbortSignal): Promise<number> {
    const { state } = this.#context;
    const { lost, stop } = this.#options.leases.keep(this.#lease);
    try {
      await state.recordFailure(this.#lease, undefined);
      await this.#follow(until, AbortSignal.any([signal, lost]));
      if (lost.aborted) throw lost.reason;
      return this.#position;
    } catch (error) {
      if (error instanceof LeaseLostError || isTransient(error)) throw error;
      const stopped = stoppedError(this.#projection.name, error);
      await this.#recordFailure(stopped);
      throw stopped;
    } finally {
      stop();
      await state.releaseLease(this.#lease).catch((error: unknown) => {
        this.#context.logger.warn(
          `the lease of "${this.#projection.name}" expires by itself: ${messageOf(error)}`,
        );
      });
    }
  }

  async #follow(until: RunUntil, signal: AbortSignal): Promise<void> {
    const { log } = this.#context;
    while (!signal.aborted && (until === 'forever' || this.#position < until)) {
      await this.#catchUp(until, signal);
      if (this.#position === until || signal.aborted) break;
      await log.changes(this.#position, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  /** Reads to the head (or to `until`) and commits batch by batch. */
  async #catchUp(until: RunUntil, signal: AbortSignal): Promise<void> {
    const { log, codec } = this.#context;
    const target = until === 'forever' ? await log.head() : until;
    const to = until === 'forever' ? undefined : until;
    const { batchSize } = this.#options;
    const reader = log.readAll({ after: this.#position, to, filter: { types: this.#types }, batchSize });
    for await (const batch of reader.batches()) {
      if (signal.aborted) return;
      await this.#handle(decodeUntilFailure(codec, batch));
      this.#report(Math.max(target, this.#position));
      // A store may answer without ever waiting: the lease's renewal, and whoever aborts, need a turn of the event loop.
      await setImmediate();
    }
  }

  async #handle({ events, through, failure }: DecodedBatch): Promise<void> {
    try {
      await this.#commit(events, failure ? failure.event.position - 1 : through);
    } catch (error) {
      this.#handler.reset();
      if (!(error instanceof HandlerError)) throw error;
      await this.#commitBefore(error, events);
      throw error;
    }
    if (failure) throw failure;
  }

  /** Commits what stands before the event that failed, so that the next start begins at that event. */
  async #commitBefore(failure: HandlerError, events: readonly RecordedEvent[]): Promise<void> {
    const before = events.filter(({ position }) => position < failure.event.position);
    try {
      await this.#commit(before, failure.event.position - 1);
    } catch (error) {
      this.#handler.reset();
      if (!(error instanceof HandlerError)) throw error;
      // The handler is not deterministic: nothing of this batch is kept, and the next start handles all of it.
    }
  }

  /** Effects and checkpoint, in one transaction. */
  async #commit(events: readonly RecordedEvent[], through: number): Promise<void> {
    if (through <= this.#position) return;
    const { state } = this.#context;
    const { generation } = this.#generation;
    const write = await this.#handler.prepare(events, (collection) =>
      state.documentsOf(collection, generation),
    );
    await state.transaction(async (unit) => {
      // First the checkpoint: whoever lost the lease must not even touch tables that may be gone.
      await unit.advance(this.#lease, this.#position, through);
      await write(unit);
    });
    this.#position = through;
    this.#context.commits.wake();
    this.#meter.advance(events.length);
  }

  #report(target: number): void {
    this.#options.onProgress?.(this.#meter.at(this.#position, target));
  }

  async #recordFailure(stopped: ProcessorStoppedError): Promise<void> {
    const { state, clock, logger } = this.#context;
    const failure = { message: messageOf(stopped.cause), event: stopped.event, at: new Date(clock.now()) };
    await state.recordFailure(this.#lease, failure).catch((error: unknown) => {
      logger.error(`could not record why "${this.#projection.name}" stopped`, error);
    });
  }
}

interface DecodedBatch extends EventBatch {
  /** An event that could not be decoded; what follows it is left out. */
  readonly failure?: HandlerError;
}

/** Decodes a batch up to the first event that cannot be. */
function decodeUntilFailure(codec: EventCodec, { events, through }: EventBatch): DecodedBatch {
  const decoded: RecordedEvent[] = [];
  for (const event of events) {
    try {
      decoded.push(decodeOrFail(codec, event));
    } catch (error) {
      if (error instanceof HandlerError) return { events: decoded, through, failure: error };
      throw error;
    }
  }
  return { events: decoded, through };
}

function stoppedError(processor: string, error: unknown): ProcessorStoppedError {
  if (!(error instanceof HandlerError)) return new ProcessorStoppedError(processor, undefined, error);
  return new ProcessorStoppedError(processor, failedEvent(error.event), error.cause);
}

/**
 * The generation that a projection's code works on: the live one of its version, or a new one to be built beside the
 * live one of an older version. @throws ProcessorOutdatedError if the live one is of a newer version
 */
export async function generationFor<Unit extends StateUnit>(
  projection: Projection<Unit>,
  state: StateStore<Unit>,
): Promise<Generation> {
  const live = (await state.generations(projection.name)).find(({ status }) => status === 'live');
  if (live?.version === projection.version) return live;
  if (live && live.version > projection.version) {
    throw new ProcessorOutdatedError(projection.name, projection.version, live.version);
  }
  return state.createGeneration(projection.name, {
    version: projection.version,
    collections: projection.collections,
  });
}
