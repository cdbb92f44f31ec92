import { InlineProjectionError, UnsupportedError } from '../errors.js';
import type { EventBatch } from '../store/event-reader.js';
import type { InlineHook, LogUnit, RecordedEvent } from '../store/event-store.js';
import type { Lease, Partition, StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './processor.js';
import { failedEvent, HandlerError, type Projection } from './projection.js';

/** How many events one transaction handles while an inline projection catches up. */
const CATCH_UP_EVENTS = 1000;

/**
 * Inline projections: each keeps its checkpoint like any other, and moves it in the append's transaction. Events that
 * were appended without it (by another program, or before it existed) are handled first, so none is ever left out.
 */
export class InlineProjections<Unit extends StateUnit = StateUnit> {
  readonly #projections: readonly Projection<Unit>[];
  readonly #context: ProcessorContext<Unit>;
  readonly #warned = new Set<string>();

  constructor(projections: readonly Projection<Unit>[], context: ProcessorContext<Unit>) {
    this.#projections = projections;
    this.#context = context;
  }

  /** What an append runs in its transaction; undefined if there is nothing to run. */
  hook(): InlineHook<Unit> | undefined {
    if (this.#projections.length === 0) return undefined;
    return async (events, unit) => {
      for (const projection of this.#projections) await this.#handleAppend(projection, events, unit);
    };
  }

  /** Brings a live projection to the head, some events a transaction, so that no append has much to catch up. */
  async catchUp(projection: Projection<Unit>, signal?: AbortSignal): Promise<void> {
    const { log, state } = this.#context;
    const head = await log.head();
    // A look that takes no write lock: usually there is nothing to do.
    let more = (await state.partitions(projection.name)).some(({ position }) => position < head);
    while (more && !signal?.aborted) {
      more = await state.transaction(async (unit) => {
        const partition = await this.#partition(projection, unit);
        if (!partition) return false;
        const after = await this.#step(projection, partition, withLog(unit), Infinity);
        return after.position > partition.position;
      });
    }
  }

  /** Handles all that a generation lacks up to a position, in this transaction. */
  async bring(
    projection: Projection<Unit>,
    partition: Partition,
    unit: Unit,
    to = Infinity,
  ): Promise<Partition> {
    const log = withLog(unit);
    for (let at = partition; ;) {
      const next = await this.#step(projection, at, log, to);
      if (next.position === at.position) return at;
      at = next;
    }
  }

  async #handleAppend(
    projection: Projection<Unit>,
    events: readonly RecordedEvent[],
    unit: Unit & LogUnit,
  ): Promise<void> {
    const first = events[0];
    const last = events.at(-1);
    const partition = await this.#partition(projection, unit);
    if (!partition || !first || !last) return;
    const before = first.position - 1;
    const current =
      partition.position < before ? await this.bring(projection, partition, unit, before) : partition;
    await this.#apply(projection, current, { events, through: last.position }, unit);
  }

  /** Handles the next batch up to a position; the same partition comes back if there was nothing. */
  async #step(
    projection: Projection<Unit>,
    partition: Partition,
    unit: Unit & LogUnit,
    to: number,
  ): Promise<Partition> {
    if (partition.position >= to) return partition;
    const range = {
      after: partition.position,
      to: to === Infinity ? undefined : to,
      batchSize: CATCH_UP_EVENTS,
    };
    for await (const batch of unit.readAll(range).batches()) {
      if (batch.through > partition.position) return this.#apply(projection, partition, batch, unit);
    }
    return partition;
  }

  async #apply(
    projection: Projection<Unit>,
    partition: Partition,
    { events, through }: EventBatch,
    unit: Unit,
  ): Promise<Partition> {
    const { codec } = this.#context;
    const wanted = new Set(codec.storedNames(projection.eventTypes));
    const handler = projection.handler(partition.generation);
    try {
      const decoded = events.filter(({ type }) => wanted.has(type)).map((event) => codec.decode(event));
      const write = await handler.prepare(decoded, (collection) =>
        unit.documents(collection, partition.generation),
      );
      await unit.advance(leaseOf(partition), partition.position, through);
      await write(unit);
    } catch (error) {
      if (!(error instanceof HandlerError)) throw error;
      throw new InlineProjectionError(projection.name, failedEvent(error.event), error.cause);
    }
    return { ...partition, position: through };
  }

  /** The live partition of this code's version; another version is left to the programs that have its code. */
  async #partition(projection: Projection<Unit>, unit: Unit): Promise<Partition | undefined> {
    const live = await unit.live(projection.name);
    if (live?.generation.version === projection.version) return live.partitions[0];
    if (!this.#warned.has(projection.name)) {
      this.#warned.add(projection.name);
      this.#context.logger.warn(
        `inline projection "${projection.name}" version ${projection.version} is not live` +
          `${live ? ` (version ${live.generation.version} is)` : ''}: appends leave it to catch up`,
      );
    }
    return undefined;
  }
}

function leaseOf({ processor, generation, firstSlice, token, position }: Partition): Lease {
  return { processor, generation, firstSlice, token, position, holder: 'inline' };
}

/** A store that runs inline hooks gives its units the log to read. */
function withLog<Unit extends StateUnit>(unit: Unit): Unit & LogUnit {
  if (hasLog(unit)) return unit;
  throw new UnsupportedError('inline projections', "declare them with mode: 'async'");
}

function hasLog<Unit extends StateUnit>(unit: Unit): unit is Unit & LogUnit {
  return 'readAll' in unit;
}
