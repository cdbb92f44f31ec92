import { Circuit, type CircuitOptions } from './circuit.js';
import { Doubt } from './doubt.js';
import type { Verdict } from './verdict.js';

/** What is known of one endpoint: whether it is up, and what is not its fault. */
export class Endpoint {
  /** Names it without what may be secret: without user, password and query. */
  readonly name: string;
  readonly #circuit: Circuit;
  readonly #doubt: Doubt;
  #underWay = 0;

  constructor(name: string, circuit: CircuitOptions, patienceMs: number) {
    this.name = name;
    this.#circuit = new Circuit(circuit);
    this.#doubt = new Doubt(patienceMs);
  }

  /** Whether nothing is lost when it is forgotten. */
  get isIdle(): boolean {
    return this.#underWay === 0 && this.#circuit.isClean && this.#doubt.isClean;
  }

  /** In how many milliseconds it may be asked again; undefined if now, and then `judge` must be called with what came of it. */
  begin(): { readonly waitMs: number } | { readonly judge: Judge } {
    const waitMs = this.#circuit.enter();
    if (waitMs !== undefined) return { waitMs };
    const { answers } = this.#doubt;
    this.#underWay += 1;
    return {
      judge: (id, verdict, stopped) => {
        this.#underWay -= 1;
        return this.#judged(id, verdict, answers, stopped);
      },
    };
  }

  #judged(id: string, verdict: Verdict, answersBefore: number, stopped: boolean): Verdict {
    if (stopped && verdict.kind !== 'accepted') {
      this.#circuit.undecided();
      return verdict;
    }
    if (verdict.kind === 'doubtful' && this.#doubt.blames(id, answersBefore)) {
      this.#circuit.undecided();
      return { kind: 'rejected', reason: verdict.reason, permanent: false };
    }
    if (verdict.kind === 'unavailable' || verdict.kind === 'doubtful') {
      this.#circuit.failed(verdict.retryAfterMs);
    } else {
      this.#circuit.answered();
      this.#doubt.answered();
    }
    return verdict;
  }
}

/** Takes note of what came of a message, and decides whose fault it is where that is in doubt. `stopped`: we broke it off. */
export type Judge = (id: string, verdict: Verdict, stopped: boolean) => Verdict;
