/**
 * A seeded random sequence: the same numbers lead to the same draws.
 * Source: mulberry32 by Tommy Ettinger (public domain), with 32 bits of state; its seed is mixed from the given numbers
 * by FNV-1a (Fowler, Noll, Vo).
 */
export class Random {
  #state: number;

  constructor(...seeds: readonly number[]) {
    this.#state = 0x811c9dc5;
    for (const seed of seeds) {
      for (let shift = 0; shift < 32; shift += 8) {
        this.#state = Math.imul(this.#state ^ ((seed >>> shift) & 0xff), 0x01000193);
      }
    }
  }

  /** From 0 (inclusive) to 1 (exclusive). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both inclusive. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Different members of a list, in random order. */
  sample<Item>(items: readonly Item[], count: number): Item[] {
    const left = [...items];
    const chosen: Item[] = [];
    while (chosen.length < count && left.length > 0) {
      chosen.push(...left.splice(this.between(0, left.length - 1), 1));
    }
    return chosen;
  }
}
