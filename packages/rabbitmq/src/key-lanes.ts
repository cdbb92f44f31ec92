/** Works on items, those of one key one after the other in the order in which they came, and so many keys at once. */
export class KeyLanes<Item> {
  readonly #concurrency: number;
  readonly #work: (item: Item) => Promise<void>;
  #waiting: { readonly key: string; readonly item: Item }[] = [];
  readonly #busy = new Set<string>();
  #onIdle: (() => void)[] = [];

  /** `work` must not reject. */
  constructor(concurrency: number, work: (item: Item) => Promise<void>) {
    this.#concurrency = concurrency;
    this.#work = work;
  }

  add(key: string, item: Item): void {
    this.#waiting.push({ key, item });
    this.#next();
  }

  /** Forgets what has not begun. */
  clear(): void {
    this.#waiting = [];
  }

  /** Resolves when nothing is being worked on, and nothing waits. */
  idle(): Promise<void> {
    if (this.#busy.size === 0 && this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #next(): void {
    while (this.#busy.size < this.#concurrency) {
      const place = this.#waiting.findIndex(({ key }) => !this.#busy.has(key));
      const [next] = place < 0 ? [] : this.#waiting.splice(place, 1);
      if (!next) return;
      this.#busy.add(next.key);
      void this.#work(next.item).finally(() => this.#done(next.key));
    }
  }

  #done(key: string): void {
    this.#busy.delete(key);
    this.#next();
    if (this.#busy.size > 0 || this.#waiting.length > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
