/** The longest time for which the endpoint is held to be the cause. */
const LONGEST_MS = 24 * 3600 * 1000;

/** How many messages are suspected at once; those that were suspected first are forgotten first. */
const MOST = 1000;

interface Suspect {
  readonly since: number;
  /** How often the endpoint had answered when the message failed for the first time. */
  readonly answers: number;
}

/**
 * Finds out whose fault it is when no answer comes: the endpoint's, which will be back, or that of the one message that it
 * cannot bear. What speaks against the message:
 * - It timed out while others were answered.
 * - It fails again, and others were answered since it failed first.
 * - It has failed for `patienceMs`, and nothing was answered. For every message that is blamed so, the next one gets twice the
 *   time, since then it is rather the endpoint.
 */
export class Doubt {
  readonly #patienceMs: number;
  readonly #suspects = new Map<string, Suspect>();
  /** Those that were blamed since the last answer. */
  readonly #blamed = new Set<string>();
  #answers = 0;

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  get isClean(): boolean {
    return this.#suspects.size === 0;
  }

  /** How often the endpoint has answered so far: to be kept while a message is under way. */
  get answers(): number {
    return this.#answers;
  }

  /** The endpoint has answered to a message. */
  answered(id: string): void {
    this.#answers += 1;
    this.#suspects.delete(id);
    this.#blamed.clear();
  }

  /** Whether a message is to blame for not having been answered; `answers` is what it was when the message was sent. */
  blames(
    id: string,
    { answers, timedOut }: { readonly answers: number; readonly timedOut: boolean },
  ): boolean {
    const now = performance.now();
    const known = this.#suspects.get(id);
    const { since } = known ?? this.#suspect(id, now);
    if (timedOut && this.#answers > answers) return true;
    if (known && this.#answers > known.answers) return true;
    const others = this.#blamed.has(id) ? this.#blamed.size - 1 : this.#blamed.size;
    if (now - since < Math.min(LONGEST_MS, this.#patienceMs * 2 ** others)) return false;
    this.#blamed.add(id);
    return true;
  }

  #suspect(id: string, since: number): Suspect {
    const [first] = this.#suspects.keys();
    if (first !== undefined && this.#suspects.size >= MOST) this.#suspects.delete(first);
    const suspect = { since, answers: this.#answers };
    this.#suspects.set(id, suspect);
    return suspect;
  }
}
