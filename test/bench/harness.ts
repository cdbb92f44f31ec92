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

/**
 * What a row must reach: a ratio, or instead of it an absolute rate where one is given. Of times and sizes, a ratio that must
 * not be exceeded.
 */
export type Bar = { readonly ratio: number; readonly orRate?: number } | { readonly atMost: number };

/** A row with what the report says about it beside its figures. */
export interface Result {
  readonly row: Row;
  readonly scenario: string;
  /** How long the log was, for the growth table. */
  readonly length: number | undefined;
  readonly bar: Bar | undefined;
}

/** One side of a comparison; what it returns is checked. Only its own time is measured. */
export type Side<Outcome> = (round: number) => Outcome | Took<Outcome> | Promise<Outcome | Took<Outcome>>;

/** What a side returns that knows its own time better than the harness can, such as a program that must be started. */
export class Took<Outcome> {
  constructor(
    readonly outcome: Outcome,
    readonly seconds: number,
  ) {}
}

/** A scenario at one length of the log. */
export interface Case<Ours, Raw = Ours> {
  readonly length?: number;
  /** What one round processes, in the scenario's unit. */
  readonly n: number;
  readonly ours: Side<Ours>;
  readonly raw: Side<Raw>;
  /** Whether both sides did all of their work, and the same. Called after every round. */
  readonly correct: (ours: Ours, raw: Raw, round: number) => boolean | Promise<boolean>;
  /** Others that do the same in the same rounds. */
  readonly peers?: readonly Peer[];
}

/** Somebody else's way to do the same. It gets a row of its own, in which it stands for `raw`. */
export interface Peer {
  readonly name: string;
  /** What it processes in a round. */
  readonly n: number;
  /** What it returns tells, outside of the measured time, whether all of the work was done. */
  readonly run: Side<() => boolean | Promise<boolean>>;
  readonly bar?: Bar;
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
   * Measures a scenario. In every round each case runs all sides, and the sides take turns in going first, so that a
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
      const { length, n, peers = [] } = lane.case;
      const longest = lane === lanes.at(-1);
      const row = { name, unit: `${unit}/s`, length, n };
      this.add({ ...row, ...lane.outcome(), bar: longest ? bar : undefined });
      for (const peer of peers) {
        this.add({ ...row, name: `${name}, raw being ${peer.name}`, ...lane.against(peer), bar: peer.bar });
      }
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
  #ours = new Times();
  #raw = new Times();
  #peers: Map<Peer, Times>;
  #correct = true;

  constructor(one: Case<Ours, Raw>) {
    this.case = one;
    this.#peers = new Map(one.peers?.map((peer) => [peer, new Times()]));
  }

  async round(round: number): Promise<void> {
    let ours: { outcome: Ours } | undefined;
    let raw: { outcome: Raw } | undefined;
    const sides: (() => Promise<void>)[] = [
      async () => void (ours = await this.#ours.measure(this.case.ours, round)),
      async () => void (raw = await this.#raw.measure(this.case.raw, round)),
      ...[...this.#peers].map(
        ([peer, times]) =>
          () =>
            this.#peerRound(peer, times, round),
      ),
    ];
    for (let turn = 0; turn < sides.length; turn++) await sides[(round + turn) % sides.length]?.();
    if (ours && raw && (await this.case.correct(ours.outcome, raw.outcome, round))) return;
    this.#correct = false;
  }

  async #peerRound(peer: Peer, times: Times, round: number): Promise<void> {
    const { outcome: check } = await times.measure(peer.run, round);
    if (!(await check())) times.correct = false;
  }

  /** Drops the times, not what was found to be wrong. */
  forget(): void {
    for (const times of [this.#ours, this.#raw, ...this.#peers.values()]) times.forget();
  }

  /** Rates a second. */
  outcome(): { ours: number; raw: number; correct: boolean } {
    const { n } = this.case;
    return { ours: this.#ours.rate(n), raw: this.#raw.rate(n), correct: this.#correct };
  }

  /** The same with a peer in the place of `raw`. */
  against(peer: Peer): { ours: number; raw: number; correct: boolean } {
    const times = this.#peers.get(peer);
    const correct = this.#correct && times?.correct === true;
    return { ours: this.#ours.rate(this.case.n), raw: times?.rate(peer.n) ?? NaN, correct };
  }
}

/** What a side took in each round. */
class Times {
  correct = true;
  #seconds: number[] = [];

  async measure<Outcome>(side: Side<Outcome>, round: number): Promise<{ outcome: Outcome }> {
    // One side must not pay for what the other has thrown away.
    collectGarbage();
    const start = performance.now();
    const outcome = await side(round);
    const seconds = (performance.now() - start) / 1000;
    this.#seconds.push(outcome instanceof Took ? outcome.seconds : seconds);
    return { outcome: outcome instanceof Took ? outcome.outcome : outcome };
  }

  forget(): void {
    this.#seconds = [];
  }

  rate(n: number): number {
    return n / median(this.#seconds);
  }
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
