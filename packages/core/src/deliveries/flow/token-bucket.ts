import type { Clock } from '../../clock.js';
import type { RateOptions } from './flow-settings.js';

/** Lets so many things happen a second, and as many as have been saved up at once. */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #perMs: number;
  readonly #most: number;
  #tokens: number;
  #at: number;

  constructor({ perSecond, burst = Math.max(1, perSecond) }: RateOptions, clock: Clock) {
    this.#clock = clock;
    this.#perMs = perSecond / 1000;
    this.#most = burst;
    this.#tokens = burst;
    this.#at = clock.now();
  }

  /** Whether one may happen now. */
  get hasSome(): boolean {
    this.#fill();
    return this.#tokens >= 1;
  }

  /** Waits until at least one may happen, and says how many may now, up to `wanted`; 0 if the signal aborts. */
  async take(wanted: number, signal: AbortSignal): Promise<number> {
    while (!signal.aborted) {
      this.#fill();
      if (this.#tokens >= 1) {
        const taken = Math.min(wanted, Math.floor(this.#tokens));
        this.#tokens -= taken;
        return taken;
      }
      await this.#clock.sleep(Math.ceil((1 - this.#tokens) / this.#perMs), signal);
    }
    return 0;
  }

  #fill(): void {
    const now = this.#clock.now();
    // A clock that is set back gives nothing, and takes nothing.
    const passed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#tokens = Math.min(this.#most, this.#tokens + passed * this.#perMs);
  }
}
