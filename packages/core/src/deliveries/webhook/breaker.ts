/** Breaks off what is under way, all at once. Lighter than an AbortSignal, of which each request would need a listener. */
export class Breaker {
  readonly #underWay = new Set<() => void>();
  #broken = false;

  get isBroken(): boolean {
    return this.#broken;
  }

  /** Breaks off all that is under way, and all that comes later. */
  break(): void {
    this.#broken = true;
    for (const breakOff of this.#underWay) breakOff();
  }

  /** Is told how to break something off; returns what ends that. */
  add(breakOff: () => void): () => void {
    this.#underWay.add(breakOff);
    if (this.#broken) breakOff();
    return () => this.#underWay.delete(breakOff);
  }
}
