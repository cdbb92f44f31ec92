/** When an endpoint that does not answer is left alone. */
export interface CircuitOptions {
  /** After how many messages in a row that found it unavailable. Default 5. */
  readonly failures?: number;
  /** For how long, in milliseconds; then one message is sent to see whether it is back. Default 5,000. */
  readonly openMs?: number;
}

/** How soon whoever comes while one tries is to come again. */
const TRIAL_MS = 100;

/**
 * Leaves an endpoint alone that has not answered several times in a row, then lets one message try, and by its outcome all
 * or none. It never stays open: what the endpoint asks for is bounded by the caller.
 */
export class Circuit {
  readonly #most: number;
  readonly #openMs: number;
  #failures = 0;
  #openUntil = 0;
  #trying = false;

  constructor({ failures = 5, openMs = 5000 }: CircuitOptions) {
    this.#most = failures;
    this.#openMs = openMs;
  }

  /** Whether nothing is held against the endpoint. */
  get isClean(): boolean {
    return this.#failures === 0 && !this.#trying;
  }

  /** Lets a message through, or says in how many milliseconds to ask again. Whoever is let through tells its outcome. */
  enter(): number | undefined {
    if (this.#failures < this.#most) return undefined;
    const waitMs = this.#openUntil - performance.now();
    if (waitMs > 0) return Math.ceil(waitMs);
    if (this.#trying) return TRIAL_MS;
    this.#trying = true;
    return undefined;
  }

  /** The endpoint has answered, whatever it said. */
  answered(): void {
    this.#failures = 0;
    this.#trying = false;
  }

  /** The endpoint is unavailable; what it asked for opens the circuit at once. */
  failed(askedMs?: number): void {
    this.#failures = askedMs === undefined ? this.#failures + 1 : Math.max(this.#failures + 1, this.#most);
    this.#trying = false;
    if (this.#failures >= this.#most) this.#openUntil = performance.now() + (askedMs ?? this.#openMs);
  }

  /** Nothing can be said of the endpoint: another may try. */
  undecided(): void {
    this.#trying = false;
  }
}
