/** Lets so many things happen at once; whoever comes when all are taken waits for a turn, in the order of asking. */
export class Slots {
  /** How many there are. */
  readonly count: number;
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(count: number) {
    this.count = count;
    this.#free = count;
  }

  /** Resolves with true when it is the caller's turn, who gives the slot back, or with false when the signal aborts. */
  async take(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.#free > 0) {
      this.#free -= 1;
      return true;
    }
    return new Promise((resolve) => {
      const end = (taken: boolean): void => {
        this.#waiting.delete(granted);
        signal.removeEventListener('abort', left);
        resolve(taken);
      };
      const granted = (): void => end(true);
      const left = (): void => end(false);
      this.#waiting.add(granted);
      signal.addEventListener('abort', left, { once: true });
    });
  }

  /** Gives a slot back: to whoever has waited longest. */
  release(): void {
    const [next] = this.#waiting;
    if (next) next();
    else this.#free += 1;
  }
}
