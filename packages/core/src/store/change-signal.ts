import { StoreClosedError } from '../errors.js';

interface Waiter {
  readonly after: number;
  readonly resolve: (head: number) => void;
  readonly reject: (reason: unknown) => void;
}

/** Wakes those who wait for a log to grow; the in-process half of every store's `changes`. */
export class ChangeSignal {
  #head = 0;
  #closed = false;
  readonly #waiters = new Set<Waiter>();

  /** How many wait: a store polls for changes from elsewhere only while someone does. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Tells the head of the log; wakes everyone who waits for less. */
  advance(head: number): void {
    if (head <= this.#head) return;
    this.#head = head;
    for (const waiter of this.#waiters) {
      if (waiter.after < head) {
        this.#waiters.delete(waiter);
        waiter.resolve(head);
      }
    }
  }

  /** Resolves with the head once it is beyond `after`. @throws StoreClosedError, or the signal's reason */
  beyond(after: number, signal?: AbortSignal): Promise<number> {
    if (this.#closed) return Promise.reject(new StoreClosedError());
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#head > after) return Promise.resolve(this.#head);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const settle = <Value>(settled: (value: Value) => void) => {
        return (value: Value): void => {
          signal?.removeEventListener('abort', onAbort);
          settled(value);
        };
      };
      const waiter: Waiter = { after, resolve: settle(resolve), reject: settle(reject) };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Rejects everyone who waits now: the log cannot be looked at. */
  fail(error: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }

  /** Rejects everyone who waits, now and from now on. */
  close(): void {
    this.#closed = true;
    this.fail(new StoreClosedError());
  }
}
