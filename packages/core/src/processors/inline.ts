import { InlineProjectionError, ProcessorStoppedError } from '../errors.js';
import type { InlineHook, LogUnit, RecordedEvent } from '../store/event-store.js';
import type { Partition } from '../store/processor-state.js';
import type { StateUnit } from '../store/state-store.js';
import { bringForward, handleInTransaction, withLog } from './in-transaction.js';
import type { ProcessorContext } from './context.js';
import { failedEvent, HandlerError, type Processor } from './processor.js';

/**
 * Inline projections: each keeps its checkpoint like any other, and moves it in the append's transaction. Events that
 * were appended without it (by another program, or before it existed) are handled first, so none is ever left out.
 */
export class InlineProjections<Unit extends StateUnit = StateUnit> {
  readonly #projections: readonly Processor<Unit>[];
  readonly #context: ProcessorContext<Unit>;
  readonly #warned = new Set<string>();

  constructor(projections: readonly Processor<Unit>[], context: ProcessorContext<Unit>) {
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

  /**
   * Brings a live projection to the head, some events a transaction, so that no append has much to catch up.
   * @throws ProcessorStoppedError when the handler fails
   */
  async catchUp(projection: Processor<Unit>, signal?: AbortSignal): Promise<void> {
    const { log, state } = this.#context;
    const head = await log.head();
    // A look that takes no write lock: usually there is nothing to do.
    let more = (await state.partitions(projection.name)).some(({ position }) => position < head);
    while (more && !signal?.aborted)
      more = await state.transaction((unit) => this.#catchUpStep(projection, unit));
  }

  async #catchUpStep(projection: Processor<Unit>, unit: Unit): Promise<boolean> {
    const partition = await this.#partition(projection, unit);
    if (!partition) return false;
    try {
      const moved = await bringForward(projection, partition, withLog(unit), {
        codec: this.#context.codec,
        steps: 1,
      });
      return moved.position > partition.position;
    } catch (error) {
      if (!(error instanceof HandlerError)) throw error;
      throw new ProcessorStoppedError(projection.name, failedEvent(error.event), error.cause);
    }
  }

  async #handleAppend(
    projection: Processor<Unit>,
    events: readonly RecordedEvent[],
    unit: Unit & LogUnit,
  ): Promise<void> {
    const { codec } = this.#context;
    const first = events[0];
    const last = events.at(-1);
    const partition = await this.#partition(projection, unit);
    if (!partition || !first || !last) return;
    try {
      const current = await bringForward(projection, partition, unit, { codec, to: first.position - 1 });
      await handleInTransaction(projection, current, { events, through: last.position }, unit, { codec });
    } catch (error) {
      if (!(error instanceof HandlerError)) throw error;
      throw new InlineProjectionError(projection.name, failedEvent(error.event), error.cause);
    }
  }

  /** The live partition of this code's version; another version is left to the programs that have its code. */
  async #partition(projection: Processor<Unit>, unit: Unit): Promise<Partition | undefined> {
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
