import type { Aggregate } from './aggregate.js';

/**
 * The most recently used aggregates by id, at most `capacity`. One that is taken is out of the cache until it is put
 * back, so that no two updates ever work on the same instance.
 */
export class AggregateCache<A extends Aggregate> {
  readonly #capacity: number;
  readonly #byId = new Map<string, A>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  take(id: string): A | undefined {
    const found = this.#byId.get(id);
    this.#byId.delete(id);
    return found;
  }

  put(aggregate: A): void {
    if (this.#capacity === 0) return;
    this.#byId.delete(aggregate.id);
    this.#byId.set(aggregate.id, aggregate);
    if (this.#byId.size > this.#capacity) {
      for (const oldest of this.#byId.keys()) {
        this.#byId.delete(oldest);
        break;
      }
    }
  }

  get size(): number {
    return this.#byId.size;
  }
}
