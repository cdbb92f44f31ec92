import { ChangeSignal } from '@refold/core';
import type { Statements } from './statements.js';

/** How often other processes' commits are looked for while someone waits. One look reads a counter in memory. */
const POLL_MS = 15;

/** Tells when the log has grown: at once for this store's own appends, by polling for those of other processes. */
export class ChangeFeed {
  readonly #signal = new ChangeSignal();
  readonly #statements: Statements;
  readonly #head: () => number;
  #timer: NodeJS.Timeout | undefined;
  #seen: unknown;

  constructor(statements: Statements, head: () => number) {
    this.#statements = statements;
    this.#head = head;
  }

  /** The head of the log after an append of this store. */
  advance(head: number): void {
    this.#signal.advance(head);
  }

  async beyond(after: number, signal?: AbortSignal): Promise<number> {
    this.#signal.advance(this.#head());
    const grown = this.#signal.beyond(after, signal);
    this.#poll();
    return grown;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#signal.close();
  }

  /** Runs only while someone waits, and keeps the process alive that long. */
  #poll(): void {
    if (this.#timer !== undefined || this.#signal.waiting === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      try {
        this.#look();
      } catch (error) {
        // Nobody calls a timer: thrown on, it would end the process instead of reaching those who wait.
        this.#signal.fail(error);
      }
      this.#poll();
    }, POLL_MS);
  }

  #look(): void {
    const version = this.#statements.values('pragma data_version').get();
    if (version === this.#seen) return;
    this.#seen = version;
    this.#signal.advance(this.#head());
  }
}
