import type { ProcessorContext } from '../../processors/context.js';
import type { Lanes } from '../../processors/lanes.js';
import type { Processor } from '../../processors/processor.js';
import type { Partition } from '../../store/processor-state.js';
import type { StateUnit } from '../../store/state-store.js';

/** How often in a row a delivery is found too far behind before a partition is split. */
const LOOKS_BEFORE_SPLIT = 2;

/** Looks at how far a delivery is behind, says so, and splits its partitions where that is asked for. */
export class BacklogWatch<Unit extends StateUnit> {
  readonly #processor: Processor<Unit>;
  readonly #context: ProcessorContext<Unit>;
  #warned = false;
  #looks = 0;

  constructor(processor: Processor<Unit>, context: ProcessorContext<Unit>) {
    this.#processor = processor;
    this.#context = context;
  }

  /** Looks at the partitions of the live generation, of which this worker has some. */
  async look(partitions: readonly Partition[], lanes: Lanes<Unit>): Promise<void> {
    const settings = this.#processor.flow?.backlog;
    // Whoever has nothing to do is not behind, and asks the store nothing.
    if (!settings || !(this.#warned || this.#context.flows?.of(this.#processor).isBusy)) return;
    const least = Math.min(...partitions.map(({ position }) => position));
    const lag = (await this.#context.log.head()) - least;
    this.#say(lag, settings.warnAbove);
    this.#looks = lag > settings.warnAbove ? this.#looks + 1 : 0;
    if (this.#looks < LOOKS_BEFORE_SPLIT || partitions.length >= (settings.splitUpTo ?? 0)) return;
    this.#looks = 0;
    await this.#split(partitions, lanes);
  }

  #say(lag: number, warnAbove: number): void {
    const { logger } = this.#context;
    const { name } = this.#processor;
    if (!this.#warned && lag > warnAbove) {
      this.#warned = true;
      logger.warn(`"${name}" is ${lag} events behind the log, more than ${warnAbove}`);
    } else if (this.#warned && lag <= warnAbove / 2) {
      this.#warned = false;
      logger.info(`"${name}" has caught up to ${lag} events behind the log`);
    }
  }

  /** Splits the widest partition. One worker decides that: the one that holds the first. */
  async #split(partitions: readonly Partition[], lanes: Lanes<Unit>): Promise<void> {
    const { state, logger, control } = this.#context;
    const width = (one: Partition): number => one.lastSlice - one.firstSlice;
    const [widest] = [...partitions].sort((one, other) => width(other) - width(one));
    if (!lanes.has(0) || !widest || width(widest) === 0) return;
    // A partition of our own first finishes what it has in hand, so that nothing is repeated.
    await lanes.end(widest.firstSlice);
    await state.splitPartition(widest, Math.ceil((widest.firstSlice + widest.lastSlice) / 2));
    logger.info(`"${this.#processor.name}" is split into ${partitions.length + 1} partitions, being behind`);
    control.wake();
  }
}
