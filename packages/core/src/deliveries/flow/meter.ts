import type { Clock } from '../../clock.js';

/** Over how many whole seconds rates are told. */
export const WINDOW_SECONDS = 10;

/** Counts, in all and lately. */
export class Meter {
  readonly #clock: Clock;
  /** The counts of the last seconds, by the second. */
  readonly #lately = new Map<number, number>();
  readonly #since: number;
  #all = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.now();
  }

  get all(): number {
    return this.#all;
  }

  add(count: number): void {
    const second = Math.floor(this.#clock.now() / 1000);
    this.#all += count;
    this.#lately.set(second, (this.#lately.get(second) ?? 0) + count);
    for (const old of this.#lately.keys()) {
      if (old >= second - WINDOW_SECONDS) break;
      this.#lately.delete(old);
    }
  }

  /** What was counted a second, over the last ten seconds, or since it began if that is less. */
  get perSecond(): number {
    const now = this.#clock.now();
    const from = Math.floor(now / 1000) - WINDOW_SECONDS + 1;
    let count = 0;
    for (const [second, counted] of this.#lately) if (second >= from) count += counted;
    return (1000 * count) / Math.max(1000, Math.min(now - this.#since, now - from * 1000));
  }
}
