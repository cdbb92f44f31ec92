import { TransportUnavailableError } from '../deliveries/transport-errors.js';
import { LeaseLostError, messageOf, ProcessorStoppedError } from '../errors.js';
import type { Lease, Partition } from '../store/processor-state.js';
import type { StateUnit } from '../store/state-store.js';
import { Lane, type LaneParts, type LaneReport } from './lane.js';
import type { KeptLease, LeaseKeeper } from './lease-keeper.js';
import { failedEvent, HandlerError } from './processor.js';
import { isTransient } from './transient.js';

/** How a lane ended; `done` when it reached its bound or was told to stop. */
export type LaneEnd = {
  readonly kind: 'done' | 'lost' | 'unavailable' | 'stopped';
  readonly error?: unknown;
  /** How often the processor had been told to go on when what it stopped at began. */
  readonly resumes?: number;
};

interface Running<Unit extends StateUnit> {
  readonly lane: Lane<Unit>;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** A lease on its way. */
interface Held {
  readonly lease: Lease;
  readonly kept: KeptLease;
  readonly stop: AbortController;
}

/** What lanes are started with beside their lease. */
export interface LanesOptions<Unit extends StateUnit> extends LaneParts<Unit> {
  readonly leases: LeaseKeeper;
  readonly holder: string;
  readonly leaseMs: number;
  /** Called when a lane has ended and its lease is given back. */
  readonly onEnd: (firstSlice: number, end: LaneEnd) => void;
}

/** The partitions of one generation that a worker holds, each worked on by a lane of its own. */
export class Lanes<Unit extends StateUnit> {
  readonly #options: LanesOptions<Unit>;
  readonly #running = new Map<number, Running<Unit>>();

  constructor(options: LanesOptions<Unit>) {
    this.#options = options;
  }

  get size(): number {
    return this.#running.size;
  }

  has(firstSlice: number): boolean {
    return this.#running.has(firstSlice);
  }

  reports(): LaneReport[] {
    return [...this.#running.values()].map(({ lane }) => lane.report);
  }

  /** The position of the lane that is least far; undefined without lanes. */
  least(): number | undefined {
    const positions = [...this.#running.values()].map(({ lane }) => lane.writer.position);
    return positions.length > 0 ? Math.min(...positions) : undefined;
  }

  /** Takes the lease of a partition and starts to work on it; false if another holds it. */
  async start(partition: Partition): Promise<boolean> {
    const { holder, leaseMs, leases, context } = this.#options;
    const askedAt = leases.now();
    const lease = await context.state.acquireLease(partition, { holder, ttlMs: leaseMs });
    if (!lease) return false;
    const stop = new AbortController();
    const handling = { ...this.#options.handling, signal: stop.signal };
    const lane = new Lane(lease, { ...this.#options, handling });
    const kept = leases.keep(lease, askedAt);
    const ended = this.#run(lane, { lease, kept, stop }, partition).then((end) => {
      this.#running.delete(lease.firstSlice);
      this.#options.onEnd(lease.firstSlice, end);
    });
    this.#running.set(lease.firstSlice, { lane, stop, ended });
    return true;
  }

  /** Lets some lanes finish what they have in hand and give their leases back; by default all. */
  async stop(count = Infinity): Promise<void> {
    const stopping = [...this.#running.values()].slice(-Math.min(count, this.#running.size));
    for (const { stop } of stopping) stop.abort();
    await Promise.all(stopping.map(({ ended }) => ended));
  }

  /** Lets the lane of a partition finish what it has in hand and give its lease back, if there is one. */
  async end(firstSlice: number): Promise<void> {
    const running = this.#running.get(firstSlice);
    running?.stop.abort();
    await running?.ended;
  }

  async #run(
    lane: Lane<Unit>,
    { lease, kept, stop }: Held,
    { failure, crashes }: Partition,
  ): Promise<LaneEnd> {
    const { state } = this.#options.context;
    const abort = (): void => stop.abort();
    kept.lost.addEventListener('abort', abort, { once: true });
    if (kept.lost.aborted) abort();
    try {
      if (failure) await state.recordFailure(lease, undefined);
      await lane.run(stop.signal, lease.crashes > crashes);
      return kept.lost.aborted ? { kind: 'lost', error: kept.lost.reason } : { kind: 'done' };
    } catch (error) {
      return { ...(await this.#ended(lease, error)), resumes: lane.resumesBefore };
    } finally {
      await lane.close();
      kept.stop();
      await state.releaseLease(lease).catch((error: unknown) => this.#expires(error));
    }
  }

  async #ended(lease: Lease, error: unknown): Promise<LaneEnd> {
    if (error instanceof LeaseLostError) return { kind: 'lost', error };
    // A log that is a broker's is out of reach as one in the store is.
    const unavailable = isTransient(error) || error instanceof TransportUnavailableError;
    if (unavailable) return { kind: 'unavailable', error };
    const stopped = stoppedError(lease.processor, error);
    await this.#recordFailure(lease, stopped);
    return { kind: 'stopped', error: stopped };
  }

  async #recordFailure(lease: Lease, stopped: ProcessorStoppedError): Promise<void> {
    const { state, clock, logger } = this.#options.context;
    const failure = { message: messageOf(stopped.cause), event: stopped.event, at: new Date(clock.now()) };
    await state.recordFailure(lease, failure).catch((error: unknown) => {
      logger.error(`could not record why "${lease.processor}" stopped`, error);
    });
  }

  #expires(error: unknown): void {
    const { context, processor } = this.#options;
    context.logger.warn(`a lease of "${processor.name}" expires by itself: ${messageOf(error)}`);
  }
}

function stoppedError(processor: string, error: unknown): ProcessorStoppedError {
  if (error instanceof ProcessorStoppedError) return error;
  if (!(error instanceof HandlerError)) return new ProcessorStoppedError(processor, undefined, error);
  return new ProcessorStoppedError(processor, failedEvent(error.event), error.cause);
}
