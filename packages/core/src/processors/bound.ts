/** How far processors go; it may be raised while they run. */
export class Bound {
  /** Whether they end there; otherwise they wait for it to be raised. */
  readonly final: boolean;
  #to: number;
  #waiting = new Set<() => void>();

  constructor(to: number, { final }: { readonly final: boolean }) {
    this.#to = to;
    this.final = final;
  }

  get to(): number {
    return this.#to;
  }

  raise(to: number): void {
    if (to <= this.#to) return;
    this.#to = to;
    for (const resume of this.#waiting) resume();
  }

  /** Resolves when the bound has been raised, or when the signal aborts. */
  async raised(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
