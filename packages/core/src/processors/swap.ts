import { LeaseLostError, ProcessorStoppedError } from '../errors.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { DeadLetter, Partition } from '../store/processor-state.js';
import { sliceOf } from '../store/slices.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './context.js';
import type { Sequence } from './feed.js';
import { dropReplaced } from './generation-choice.js';
import { bringForward, hasLog, isIn, withLog } from './in-transaction.js';
import { behindLetter, failedLetter } from './letters.js';
import { failedEvent, HandlerError, isTransactional, type Processor } from './processor.js';

/** Events that a swap may have to give up before it is left to a later try. */
const MOST_FAILURES = 100;

/**
 * Puts a finished build in the place of the live generation, in one transaction: readers see the old model before it and
 * the new one after, and the new one is no less far. What the old one has handled meanwhile is made up inside it; where
 * the effects of a handler are not in the transaction, the new one makes it up afterwards, as a replay. False if another
 * worker has moved, swapped in or replaced the build, or if the store cannot make it up there.
 * @throws ProcessorStoppedError if an event fails in it and the processor is to stop at errors
 */
export async function swapIn<Unit extends StateUnit>(
  processor: Processor<Unit>,
  building: Generation,
  context: ProcessorContext<Unit>,
): Promise<boolean> {
  const swap = new Swap(processor, building, context);
  for (let failures = 0; failures < MOST_FAILURES; failures++) {
    const outcome = await swap.attempt();
    if (outcome === 'again') continue;
    if (outcome === 'swapped') await dropReplaced(context.state, processor.name);
    return outcome === 'swapped';
  }
  return false;
}

class Swap<Unit extends StateUnit> {
  readonly #processor: Processor<Unit>;
  readonly #building: Generation;
  readonly #context: ProcessorContext<Unit>;
  /** Why events cannot be handled, by their positions. */
  readonly #failures = new Map<number, unknown>();

  constructor(processor: Processor<Unit>, building: Generation, context: ProcessorContext<Unit>) {
    this.#processor = processor;
    this.#building = building;
    this.#context = context;
  }

  async attempt(): Promise<'swapped' | 'not' | 'again'> {
    const { state } = this.#context;
    const { processor, generation } = this.#building;
    const all = await state.partitions(processor);
    const partitions = all.filter((one) => one.generation === generation);
    const parked = await Promise.all(partitions.map((one) => state.parkedSequences(one)));
    try {
      const swapped = await state.transaction(async (unit) => {
        const live = await unit.live(processor);
        if (!(await this.#bringForward(partitions, parked.flat(), live?.partitions ?? [], unit)))
          return false;
        await unit.activate(processor, generation);
        return true;
      });
      return swapped ? 'swapped' : 'not';
    } catch (error) {
      if (error instanceof HandlerError) return this.#giveUp(error);
      // Another worker has moved, swapped in or replaced this build since it was read.
      if (error instanceof LeaseLostError || !(await this.#isBuilding())) return 'not';
      throw error;
    }
  }

  async #bringForward(
    partitions: readonly Partition[],
    parked: readonly string[],
    live: readonly Partition[],
    unit: Unit,
  ): Promise<boolean> {
    // Nobody reads what such a handler does: it may be behind, as long as everything has its turn, once.
    if (!isTransactional(this.#processor.handler(this.#building.generation))) return true;
    const inline = this.#processor.mode === 'inline';
    const furthest = Math.max(
      0,
      ...live.flatMap((one) => [one, ...one.ahead]).map(({ position }) => position),
    );
    const to = inline ? Infinity : furthest;
    if (!inline && !hasLog(unit)) return partitions.every(({ position }) => position >= to);
    const sequences = new Set(parked);
    const options = {
      to,
      codec: this.#context.codec,
      isReplay: replayOf(this.#processor, live),
      letterOf: (event: RecordedEvent, sequence: Sequence) => this.#letterOf(event, sequence, sequences),
    };
    for (const partition of partitions)
      await bringForward(this.#processor, partition, withLog(unit), options);
    return true;
  }

  #letterOf(event: RecordedEvent, sequence: Sequence, parked: Set<string>): DeadLetter | 'skip' | undefined {
    const letters = {
      processor: this.#processor,
      generation: this.#building.generation,
      clock: this.#context.clock,
    };
    if (this.#failures.has(event.position)) {
      if (this.#processor.errors.onError === 'skip') return 'skip';
      parked.add(sequence.key ?? event.stream);
      return failedLetter(
        letters,
        behindLetter(letters, event, sequence),
        this.#failures.get(event.position),
      );
    }
    return parked.has(sequence.key ?? '') ? behindLetter(letters, event, sequence) : undefined;
  }

  #giveUp({ event, cause }: HandlerError): 'again' {
    const { name, errors } = this.#processor;
    if (errors.onError === 'stop') throw new ProcessorStoppedError(name, failedEvent(event), cause);
    this.#failures.set(event.position, cause);
    return 'again';
  }

  async #isBuilding(): Promise<boolean> {
    const { processor, generation } = this.#building;
    const all = await this.#context.state.generations(processor);
    return all.some((one) => one.generation === generation && one.status === 'building');
  }
}

/** What the live generation has handled is a replay for the one that takes its place. */
function replayOf<Unit extends StateUnit>(
  processor: Processor<Unit>,
  live: readonly Partition[],
): (event: RecordedEvent) => boolean {
  const parts = live.flatMap((one) => [one, ...one.ahead]);
  if (parts.length === 0) return () => false;
  const least = Math.min(...live.map(({ position }) => position));
  return (event) => {
    if (event.position <= least) return true;
    const slice = sliceOf(processor.sequenceOf(event) ?? event.stream);
    return parts.some((part) => isIn(part, slice) && event.position <= part.position);
  };
}
