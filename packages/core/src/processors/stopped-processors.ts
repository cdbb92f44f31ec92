import { setMaxListeners } from 'node:events';

/** The processors of one worker that stopped at an error: each waits to be resumed for as long as another one runs. */
export class StoppedProcessors {
  readonly #errors = new Map<string, unknown>();
  readonly #over = new AbortController();
  #running: number;

  constructor(running: number) {
    this.#running = running;
    setMaxListeners(0, this.#over.signal);
  }

  /** Aborts when none runs any more: there is nothing left to wait beside. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Why those stopped that were not resumed. */
  get errors(): readonly unknown[] {
    return [...this.#errors.values()];
  }

  stop(processor: string, error: unknown): void {
    this.#errors.set(processor, error);
    this.end();
  }

  /** One has ended as it was told to. */
  end(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#over.abort();
  }

  resume(processor: string): void {
    this.#errors.delete(processor);
    this.#running += 1;
  }
}
