import type { Action } from './chaos-plan.js';

/** What a run has done. */
export class ChaosStatistics {
  rounds = 0;
  events = 0;
  appends = 0;
  /** Processes that poison has killed. */
  poisoned = 0;
  discarded = 0;
  repeated = 0;
  lost = 0;
  readonly #counts = new Map<string, number>();

  /** Counts something that happened. */
  count(what: string): void {
    this.#counts.set(what, this.of(what) + 1);
  }

  /** How often something happened. */
  of(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** What did not happen: a run that proves nothing about it. A short run need not bring everything to its end. */
  missed(): string[] {
    const always = ['kill worker', 'freeze worker', 'drain worker', 'split', 'merge'];
    const wanted = this.rounds < LONG_RUN ? always : [...always, 'rebuild', 'rollback', 'pause', 'discard'];
    return wanted.filter((what) => this.of(what) === 0);
  }

  toString(): string {
    const counts = [...this.#counts].sort().map(([what, count]) => `${what} ${count}`);
    return [
      `${this.rounds} rounds, ${this.events} events, ${this.appends} appends acknowledged`,
      `done: ${counts.join(', ')}`,
      `processes killed by poison: ${this.poisoned}; events discarded: ${this.discarded}`,
      `effects repeated at least once: ${this.repeated}; lost at most once: ${this.lost}`,
    ].join('\n');
  }
}

const LONG_RUN = 8;

/** An action in a line that says all of it. */
export function describeAction({ at, kind, ...rest }: Action): string {
  return `${String(at).padStart(6)} ms  ${kind} ${JSON.stringify(rest)}`;
}
