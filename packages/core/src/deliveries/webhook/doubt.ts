/** The longest time for which the endpoint is held to be the cause. */
const LONGEST_MS = 24 * 3600 * 1000;

/**
 * Finds out whose fault it is when no answer comes: the endpoint's, which will be back, or that of the one message that it
 * cannot bear. An answer to another message in the meantime speaks against the message, and so does time: after `patienceMs`
 * in which it failed again and again, and nothing else was answered, it is to blame. For every message that is blamed
 * without an answer in between, the next one gets twice the time, since then it is rather the endpoint.
 */
export class Doubt {
  readonly #patienceMs: number;
  readonly #suspectedSince = new Map<string, number>();
  readonly #blamed = new Set<string>();
  #answers = 0;

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  get isClean(): boolean {
    return this.#suspectedSince.size === 0;
  }

  /** How often the endpoint has answered so far: to be kept while a message is under way. */
  get answers(): number {
    return this.#answers;
  }

  /** The endpoint has answered to a message. */
  answered(): void {
    this.#answers += 1;
    this.#suspectedSince.clear();
    this.#blamed.clear();
  }

  /** Whether a message is to blame for not having been answered, since the endpoint had answered so often. */
  blames(id: string, answersBefore: number): boolean {
    if (this.#answers > answersBefore) return true;
    const now = performance.now();
    const since = this.#suspectedSince.get(id) ?? now;
    this.#suspectedSince.set(id, since);
    const others = this.#blamed.has(id) ? this.#blamed.size - 1 : this.#blamed.size;
    if (now - since < Math.min(LONGEST_MS, this.#patienceMs * 2 ** others)) return false;
    this.#blamed.add(id);
    return true;
  }
}
