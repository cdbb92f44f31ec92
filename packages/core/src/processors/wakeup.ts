import type { Clock } from '../clock.js';

/** Wakes everyone who waits in this process; the shortcut beside their polling. */
export class Wakeup {
  readonly #waiting = new Set<() => void>();

  wake(): void {
    for (const resume of this.#waiting) resume();
  }

  /** Resolves at the next `wake` with true, or with false after `ms` milliseconds or when the signal aborts. */
  async wait(ms: number, clock: Clock, signal?: AbortSignal): Promise<boolean> {
    const woken = new AbortController();
    const resume = (): void => woken.abort();
    this.#waiting.add(resume);
    try {
      await clock.sleep(ms, signal ? AbortSignal.any([signal, woken.signal]) : woken.signal);
      return woken.signal.aborted;
    } finally {
      this.#waiting.delete(resume);
    }
  }
}
