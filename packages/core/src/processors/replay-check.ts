import type { RecordedEvent } from '../store/event-store.js';
import { sliceOf } from '../store/slices.js';
import type { Generation, StateStore, StateUnit } from '../store/state-store.js';
import { isIn } from './in-transaction.js';
import type { Processor } from './processor.js';

/**
 * Tells for every event whether an earlier generation of the processor has processed it: all that is handled before a
 * build takes over, and from then on what lies behind where the replaced one had come in the event's slice; save what
 * that one had left to its dead letters.
 */
export class ReplayCheck<Unit extends StateUnit> {
  readonly #processor: Processor<Unit>;
  readonly #generation: Generation;
  readonly #beside: number | undefined;
  readonly #furthest: number;
  #unprocessed: ReadonlySet<number> = new Set();

  /** `beside` is the live generation that this one is built beside. */
  constructor(processor: Processor<Unit>, generation: Generation, beside: number | undefined) {
    this.#processor = processor;
    this.#generation = generation;
    this.#beside = beside;
    this.#furthest = Math.max(0, ...generation.replayed.map(({ position }) => position));
  }

  /**
   * Learns what nobody has processed. For a build it is to be called when it is known how far that goes: what the live
   * generation parks after that lies beyond.
   */
  async learn(state: Pick<StateStore, 'unprocessed'>): Promise<void> {
    const { processor, generation, replayed, shadow } = this.#generation;
    if (shadow || (this.#beside === undefined && replayed.length === 0)) return;
    this.#unprocessed = new Set(await state.unprocessed(processor, this.#beside ?? generation));
  }

  isReplay(event: RecordedEvent): boolean {
    const { shadow, replayed } = this.#generation;
    if (shadow) return true;
    if (this.#unprocessed.has(event.position)) return false;
    if (this.#beside !== undefined) return true;
    if (event.position > this.#furthest) return false;
    const slice = sliceOf(this.#processor.sequenceOf(event) ?? event.stream);
    return replayed.some((part) => isIn(part, slice) && event.position <= part.position);
  }
}
