import type { Clock } from '../clock.js';

/** What a batch should take: long enough to be worth its commit, short enough to stop, renew and show progress. */
const TARGET_MS = 250;

/** Chooses how many events are handled and committed at once, by the time that the last ones took. */
export class BatchSize {
  readonly #clock: Clock;
  readonly #most: number;
  #size: number;

  /** Handlers whose events may be slow begin with one event, those that write in one transaction with many. */
  constructor(clock: Clock, most: number, first: number) {
    this.#clock = clock;
    this.#most = most;
    this.#size = Math.min(first, most);
  }

  get size(): number {
    return this.#size;
  }

  /** Does the work of `count` events and learns from the time it took. */
  async measure(count: number, work: () => Promise<void>): Promise<void> {
    const start = this.#clock.now();
    await work();
    const took = this.#clock.now() - start;
    if (took > 2 * TARGET_MS) this.#size = Math.max(1, Math.floor((count * TARGET_MS) / took));
    else if (took < TARGET_MS && count >= this.#size) this.#size = Math.min(this.#most, this.#size * 2);
  }
}
