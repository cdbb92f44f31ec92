import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** One measured comparison, as `--json` writes it. `ratio` is `ours / raw`; rates grow with speed. */
export interface Row {
  readonly name: string;
  readonly ratio: number;
  readonly ours: number;
  readonly raw: number;
  readonly unit: string;
  /** What one round processes. */
  readonly n: number;
  readonly correct: boolean;
}

/** What a row must reach: a ratio, or instead of it an absolute rate where one is given. */
export interface Bar {
  readonly ratio: number;
  readonly orRate?: number;
}

/** A row with what the report says about it beside its figures. */
export interface Result {
  readonly row: Row;
  readonly scenario: string;
  /** How long the log was, for the growth table. */
  readonly length: number | undefined;
  readonly bar: Bar | undefined;
}

/** One side of a comparison; what it returns is checked. Only its own time is measured. */
export type Side<Outcome> = (round: number) => Outcome | Promise<Outcome>;

/** A scenario at one length of the log. */
export interface Case<Ours, Raw = Ours> {
  readonly length?: number;
  /** What one round processes, in the scenario's unit. */
  readonly n: number;
  readonly ours: Side<Ours>;
  readonly raw: Side<Raw>;
  /** Whether both sides did all of their work, and the same. Called after every round. */
  readonly correct: (ours: Ours, raw: Raw, round: number) => boolean | Promise<boolean>;
}

export interface Scenario<Ours, Raw = Ours> {
  readonly name: string;
  /** What is counted; rates are in `unit` a second. */
  readonly unit: string;
  readonly rounds: number;
  /** What the case of the longest log must reach. */
  readonly bar?: Bar;
  /** From the shortest log to the longest. */
  readonly cases: readonly Case<Ours, Raw>[];
}

export interface Suite {
  readonly name: string;
  readonly about: string;
  run(bench: Bench): Promise<void>;
}

/** Runs scenarios and keeps their rows. */
export class Bench {
  readonly quick: boolean;
  readonly results: Result[] = [];
  readonly #log: (line: string) => void;

  constructor(options: { readonly quick: boolean; readonly log?: (line: string) => void }) {
    this.quick = options.quick;
    this.#log = options.log ?? (() => {});
  }

  /** Says what is going on. */
  note(line: string): void {
    this.#log(line);
  }

  /**
   * Measures a scenario. In every round each case runs both sides, and the sides take turns in going first, so that a
   * machine that speeds up or slows down does so for all of them. A first round on the shortest log warms up and is not
   * counted. Figures are medians.
   */
  async compare<Ours, Raw>({ name, unit, rounds, bar, cases }: Scenario<Ours, Raw>): Promise<void> {
    this.note(name);
    const lanes = cases.map((one) => new Lane(one));
    await lanes[0]?.round(0);
    lanes[0]?.forget();
    for (let round = 1; round <= rounds; round++) for (const lane of lanes) await lane.round(round);
    for (const lane of lanes) {
      const { length, n } = lane.case;
      const longest = lane === lanes.at(-1);
      const { ours, raw, correct } = lane.outcome();
      this.add({ name, unit: `${unit}/s`, length, n, ours, raw, correct, bar: longest ? bar : undefined });
    }
  }

  /** Adds a row that was measured in another way. */
  add(measured: {
    readonly name: string;
    readonly unit: string;
    readonly length?: number | undefined;
    readonly n: number;
    readonly ours: number;
    readonly raw: number;
    readonly correct: boolean;
    readonly bar?: Bar | undefined;
  }): void {
    const { name, unit, length, n, correct, bar } = measured;
    const ours = rounded(measured.ours);
    const raw = rounded(measured.raw);
    this.results.push({
      row: {
        name: length === undefined ? name : `${name}, log of ${length.toLocaleString('en')}`,
        ratio: Math.round((measured.ours / measured.raw) * 1000) / 1000,
        ours,
        raw,
        unit,
        n,
        correct,
      },
      scenario: name,
      length,
      bar,
    });
  }
}

/** The rounds of one case. */
class Lane<Ours, Raw> {
  readonly case: Case<Ours, Raw>;
  #ours: number[] = [];
  #raw: number[] = [];
  #correct = true;

  constructor(one: Case<Ours, Raw>) {
    this.case = one;
  }

  async round(round: number): Promise<void> {
    const { ours, raw, correct } = this.case;
    const first = round % 2 === 0 ? await timed(ours, round) : undefined;
    const baseline = await timed(raw, round);
    const own = first ?? (await timed(ours, round));
    this.#ours.push(own.seconds);
    this.#raw.push(baseline.seconds);
    if (!(await correct(own.outcome, baseline.outcome, round))) this.#correct = false;
  }

  /** Drops the times, not what was found to be wrong. */
  forget(): void {
    this.#ours = [];
    this.#raw = [];
  }

  /** Rates a second. */
  outcome(): { ours: number; raw: number; correct: boolean } {
    const { n } = this.case;
    return { ours: n / median(this.#ours), raw: n / median(this.#raw), correct: this.#correct };
  }
}

async function timed<Outcome>(
  side: Side<Outcome>,
  round: number,
): Promise<{ outcome: Outcome; seconds: number }> {
  // One side must not pay for what the other has thrown away.
  collectGarbage();
  const start = performance.now();
  const outcome = await side(round);
  return { outcome, seconds: (performance.now() - start) / 1000 };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

function rounded(value: number): number {
  return value >= 100 ? Math.round(value) : Math.round(value * 10) / 10;
}

setFlagsFromString('--expose-gc');

/** Collects all garbage at once. */
export const collectGarbage = runInNewContext('gc') as () => void;
