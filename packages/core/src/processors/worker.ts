import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { InvalidArgumentError, LeaseLostError, ProcessorStoppedError } from '../errors.js';
import type { Partition } from '../store/processor-state.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import { bringForward, hasLog, withLog } from './in-transaction.js';
import type { InlineProjections } from './inline.js';
import { LeaseKeeper } from './lease-keeper.js';
import { generationFor, Processor, type ProcessorContext, type ProcessorOptions } from './processor.js';
import type { OnProgress } from './progress.js';
import { failedEvent, HandlerError, type Projection } from './projection.js';
import { untilAvailable } from './transient.js';

/** How a worker holds and handles its projections. */
export interface WorkerOptions {
  /** How long a lease lasts without renewal: a crashed worker's partitions are free after it. Default 10,000. */
  readonly leaseMs?: number;
  /** Events that are handled and committed together, at most. Default 5,000. */
  readonly batchSize?: number;
  /** Called after every commit of every processor. */
  readonly onProgress?: OnProgress;
  /** Names this worker where leases are shown. Default: host, process id and a random part. */
  readonly name?: string;
}

/** How a run is ended from outside. */
export interface RunOptions {
  /** Ends the run when it aborts: batches in hand are finished, leases given back. */
  readonly signal?: AbortSignal;
}

/** Runs an application's projections. Make it with `application.worker()`. */
export class Worker<Unit extends StateUnit = StateUnit> {
  readonly #projections: readonly Projection<Unit>[];
  readonly #context: ProcessorContext<Unit>;
  readonly #inline: InlineProjections<Unit>;
  readonly #options: ProcessorOptions;

  constructor(
    projections: readonly Projection<Unit>[],
    inline: InlineProjections<Unit>,
    context: ProcessorContext<Unit>,
    options: WorkerOptions = {},
  ) {
    const { leaseMs = 10_000, batchSize = 5000, onProgress } = options;
    const name = options.name ?? `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
    if (!(leaseMs >= 10))
      throw new InvalidArgumentError('leaseMs', leaseMs, 'must be at least 10 milliseconds');
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
      throw new InvalidArgumentError('batchSize', batchSize, 'must be a whole number from 1');
    }
    this.#projections = projections;
    this.#inline = inline;
    this.#context = context;
    this.#options = {
      holder: name,
      leaseMs,
      batchSize,
      onProgress,
      leases: new LeaseKeeper(context, leaseMs),
    };
  }

  /**
   * Follows the log with all projections until the signal aborts. A projection whose handler throws stops alone, which
   * is logged at once and kept in its status; the others go on. Resolves when all have ended.
   * @throws ProcessorStoppedError of the projection that stopped, or an AggregateError of several
   */
  run({ signal = new AbortController().signal }: RunOptions = {}): Promise<void> {
    return this.#all((projection) => this.#follow(projection, signal), signal);
  }

  /**
   * Brings all projections to where the head of the log is now, and ends.
   * @throws like `run`
   */
  async catchUp({ signal = new AbortController().signal }: RunOptions = {}): Promise<void> {
    const head = await this.#context.log.head();
    await this.#all((projection) => this.#bring(projection, head, signal), signal);
  }

  /**
   * Builds a projection anew, from the events behind `after`, beside the live read model, which goes on being served and
   * kept up; then swaps the two in one step and drops the old one. An interrupted build is dropped by the next one.
   * @throws ProcessorStoppedError when the handler fails; the live read model is as it was
   */
  async rebuild(projection: Projection<Unit>, after: number, signal: AbortSignal): Promise<void> {
    const { state } = this.#context;
    const { version, collections } = projection;
    const building = await state.createGeneration(projection.name, {
      version,
      collections,
      after,
      fresh: true,
      beside: true,
    });
    const swapped = await untilAvailable(
      `the rebuild of "${projection.name}"`,
      () => this.#buildAndSwap(projection, building, signal),
      this.#context,
      signal,
    );
    if (swapped) return;
    signal.throwIfAborted();
    // Another worker may have finished this very build.
    if ((await this.#find(building))?.status === 'live') return;
    throw new ProcessorStoppedError(projection.name, undefined, new Error('another rebuild took its place'));
  }

  async #follow(projection: Projection<Unit>, signal: AbortSignal): Promise<void> {
    if (projection.mode === 'inline') return this.#followInline(projection, signal);
    await this.#processor(projection).run(() => this.#liveGeneration(projection, signal), 'forever', signal);
  }

  /** Appends keep an inline projection; the worker sees to events that were appended without it. */
  async #followInline(projection: Projection<Unit>, signal: AbortSignal): Promise<void> {
    const { log } = this.#context;
    while (!signal.aborted) {
      const head = await log.head();
      await this.prepareInline(projection, signal);
      await log.changes(head, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  async #bring(projection: Projection<Unit>, head: number, signal: AbortSignal): Promise<void> {
    if (projection.mode === 'inline') return this.prepareInline(projection, signal);
    await this.#processor(projection).run(() => this.#liveGeneration(projection, signal), head, signal);
  }

  /** Makes an inline projection live in its version and brings it to the head; from there appends keep it. */
  async prepareInline(projection: Projection<Unit>, signal: AbortSignal): Promise<void> {
    await this.#liveGeneration(projection, signal);
    await this.#inline.catchUp(projection, signal);
  }

  /** The live generation of the projection's version, built and swapped in first if an older one is live. */
  async #liveGeneration(projection: Projection<Unit>, signal: AbortSignal): Promise<Generation | undefined> {
    while (!signal.aborted) {
      const generation = await generationFor(projection, this.#context.state);
      if (generation.status === 'live') {
        await this.#dropRetired(projection.name);
        return generation;
      }
      await this.#buildAndSwap(projection, generation, signal);
    }
    return undefined;
  }

  /** False if the signal aborted, or if the generation was dropped or made live by another worker meanwhile. */
  async #buildAndSwap(
    projection: Projection<Unit>,
    building: Generation,
    signal: AbortSignal,
  ): Promise<boolean> {
    const processor = this.#processor(projection);
    while (!signal.aborted) {
      const head = await this.#context.log.head();
      if (!(await processor.run(() => this.#whileBuilding(building), head, signal))) return false;
      if (await this.#swap(projection, building)) return true;
    }
    return false;
  }

  async #whileBuilding(building: Generation): Promise<Generation | undefined> {
    const found = await this.#find(building);
    return found?.status === 'building' ? found : undefined;
  }

  async #find({ processor, generation }: Generation): Promise<Generation | undefined> {
    const generations = await this.#context.state.generations(processor);
    return generations.find((one) => one.generation === generation);
  }

  /** What a swap has replaced; whoever swapped may have crashed before it could do this. */
  async #dropRetired(processor: string): Promise<void> {
    const { state } = this.#context;
    for (const { generation, status } of await state.generations(processor)) {
      if (status === 'retired') await state.dropGeneration(processor, generation);
    }
  }

  /**
   * One transaction: readers see the old model before it and the new one after, and the new one is no less far. False if
   * the old one is ahead and this store cannot make it up here.
   */
  async #swap(projection: Projection<Unit>, building: Generation): Promise<boolean> {
    const { state } = this.#context;
    const { processor, generation } = building;
    const partitions = (await state.partitions(processor)).filter((one) => one.generation === generation);
    const swapped = await state
      .transaction(async (unit) => {
        const live = await unit.live(processor);
        const target = projection.mode === 'inline' ? Infinity : furthest(live?.partitions ?? []);
        if (!(await this.#bringTo(projection, partitions, unit, target))) return false;
        await unit.activate(processor, generation);
        return true;
      })
      .catch(async (error: unknown) => {
        // Another worker has moved, swapped in or replaced this build since it was read.
        if (error instanceof LeaseLostError || !(await this.#whileBuilding(building))) return false;
        throw error;
      });
    if (swapped) await this.#dropRetired(processor);
    return swapped;
  }

  async #bringTo(
    projection: Projection<Unit>,
    partitions: readonly Partition[],
    unit: Unit,
    to: number,
  ): Promise<boolean> {
    if (projection.mode !== 'inline' && !hasLog(unit))
      return partitions.every(({ position }) => position >= to);
    for (const partition of partitions) {
      try {
        await bringForward(projection, partition, withLog(unit), this.#context.codec, { to });
      } catch (error) {
        if (!(error instanceof HandlerError)) throw error;
        throw new ProcessorStoppedError(projection.name, failedEvent(error.event), error.cause);
      }
    }
    return true;
  }

  #processor(projection: Projection<Unit>): Processor<Unit> {
    return new Processor(projection, this.#context, this.#options);
  }

  /** Runs every projection to its own end; says at once when one stops, and throws when all have ended. */
  async #all(work: (projection: Projection<Unit>) => Promise<void>, signal: AbortSignal): Promise<void> {
    const failures: unknown[] = [];
    const runs = this.#projections.map(async (projection) => {
      try {
        await untilAvailable(
          `projection "${projection.name}"`,
          () => work(projection),
          this.#context,
          signal,
        );
      } catch (error) {
        failures.push(error);
        this.#context.logger.error(error instanceof Error ? error.message : String(error));
      }
    });
    await Promise.all(runs);
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, `${failures.length} projections stopped`);
  }
}

function furthest(partitions: readonly Partition[]): number {
  return Math.max(0, ...partitions.map(({ position }) => position));
}
