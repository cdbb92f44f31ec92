import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import {
  sliceOf,
  type Fence,
  type Move,
  type RecordedEvent,
  type SliceRange,
  type StateUnit,
  type Store,
} from '@refold/core';
import { overriding } from './overriding.js';

/** An effect outside of the store: what a handler did for one event. */
export interface Effect {
  /** The process that did it. */
  readonly life: number;
  readonly position: number;
  readonly sequence: string;
}

/** A process asks for a lease. */
interface Asked {
  readonly life: number;
  readonly asked: number;
}

/** A lease that a process got: it does nothing that was committed before it asked. How late it hears of it is left open. */
interface Taken extends SliceRange, Asked {
  readonly taken: number;
}

/** A checkpoint that a process has moved. */
interface Committed extends SliceRange {
  readonly life: number;
  readonly to: number;
}

/** An event that became a dead letter: it is tried again behind the checkpoint. */
interface Parked {
  readonly life: number;
  readonly parked: number;
}

type Line = Effect | Asked | Taken | Committed | Parked;

/**
 * The effects of one delivery: a file that all its processes append to, one line a write, so that the order of its lines
 * is the order of the effects. What is known of leases and checkpoints is between them.
 */
export class EffectFile {
  readonly #file: number;
  readonly #life: number;
  #asked = 0;

  constructor(path: string, life: number) {
    this.#file = openSync(path, 'a');
    this.#life = life;
  }

  done({ position }: RecordedEvent, sequence: string): void {
    this.#write({ life: this.#life, position, sequence });
  }

  /** To be called before a lease is asked for; returns what `taken` wants. */
  asks(): number {
    this.#asked += 1;
    this.#write({ life: this.#life, asked: this.#asked });
    return this.#asked;
  }

  taken({ firstSlice, lastSlice }: SliceRange, position: number, asked: number): void {
    this.#write({ life: this.#life, firstSlice, lastSlice, taken: position, asked });
  }

  committed({ firstSlice, lastSlice }: SliceRange, to: number): void {
    this.#write({ life: this.#life, firstSlice, lastSlice, to });
  }

  parked(position: number): void {
    this.#write({ life: this.#life, parked: position });
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(line: Line): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

/** A store that writes the leases, checkpoints and dead letters of deliveries into their files. */
export function withLeasesNoted<Unit extends StateUnit>(
  store: Store<Unit>,
  files: ReadonlyMap<string, EffectFile>,
): Store<Unit> {
  const ranges = new Map<string, SliceRange>();
  const keyOf = ({ processor, generation, firstSlice, token }: Fence): string =>
    `${processor} ${generation} ${firstSlice} ${token}`;
  const acquireLease: Store<Unit>['acquireLease'] = async (partition, options) => {
    const file = files.get(partition.processor);
    const asked = file?.asks() ?? 0;
    const lease = await store.acquireLease(partition, options);
    if (lease) {
      ranges.set(keyOf(lease), lease);
      file?.taken(lease, lease.position, asked);
    }
    return lease;
  };
  const note = ({ lease, to }: Move): void => {
    const range = ranges.get(keyOf(lease));
    if (range) files.get(lease.processor)?.committed(range, to);
  };
  const advanceAll: Store<Unit>['advanceAll'] = async (moves) => {
    const done = await store.advanceAll(moves);
    moves.forEach((move, index) => {
      if (done[index]) note(move);
    });
    return done;
  };
  const transaction: Store<Unit>['transaction'] = (callback) =>
    store.transaction((unit) => {
      const park = unit.park.bind(unit);
      unit.park = async (letters) => {
        for (const { processor, position } of letters) files.get(processor)?.parked(position);
        await park(letters);
      };
      return callback(unit);
    });
  return overriding(store, { acquireLease, advanceAll, transaction });
}

/** What was done outside of the store, in the order in which it was done. */
export class Effects {
  readonly #lines: readonly Line[];
  readonly #times = new Map<number, number>();

  constructor(lines: readonly Line[]) {
    this.#lines = lines;
    for (const { position } of this.done) this.#times.set(position, this.times(position) + 1);
  }

  static in(path: string): Effects {
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    return new Effects(whole.filter((line) => line !== '').map((line) => JSON.parse(line) as Line));
  }

  get done(): readonly Effect[] {
    return this.#lines.filter(isEffect);
  }

  /** How often an event had its effect. */
  times(position: number): number {
    return this.#times.get(position) ?? 0;
  }

  /** Effects beyond the first of each event. */
  get repeats(): number {
    return this.done.length - this.#times.size;
  }

  /** Where the first effects of a sequence's events are not in the order of the events. */
  disorder(): string[] {
    const seen = new Set<number>();
    const first = this.done.filter(({ position }) => !seen.has(position) && seen.add(position));
    return disorderOf(first);
  }

  /** Like `disorder`, of all effects that were not done by these processes. */
  disorderWithout(lives: ReadonlySet<number>): string[] {
    return disorderOf(this.done.filter(({ life }) => !lives.has(life)));
  }

  /**
   * Repeats of what was no longer in hand: of an event whose checkpoint was committed before the one that repeated it asked for
   * its lease. Dead letters are left out.
   */
  repeatsOfCommitted(): string[] {
    const problems: string[] = [];
    const letters = new Set(this.#lines.flatMap((line) => ('parked' in line ? [line.parked] : [])));
    const commits: { readonly line: Committed; readonly at: number }[] = [];
    const asked = new Map<string, number>();
    const leases = new Map<number, { readonly line: Taken; readonly at: number }[]>();
    this.#lines.forEach((line, at) => {
      if ('taken' in line) {
        const lease = { line, at: asked.get(`${line.life} ${line.asked}`) ?? at };
        leases.set(line.life, [...(leases.get(line.life) ?? []), lease]);
      } else if ('asked' in line) asked.set(`${line.life} ${line.asked}`, at);
      else if ('to' in line) commits.push({ line, at });
      else if (isEffect(line) && !letters.has(line.position)) {
        const slice = sliceOf(line.sequence);
        const covers = (one: { readonly line: Committed; readonly at: number }): boolean =>
          isIn(one.line, slice) && one.line.to >= line.position;
        const commit = commits.find(covers);
        const lease = leases.get(line.life)?.findLast((one) => isIn(one.line, slice));
        if (!commit || !lease || lease.at < commit.at) return;
        problems.push(
          `position ${line.position} of ${line.sequence} was repeated by process ${line.life}, ` +
            `whose lease began behind the commit up to ${commit.line.to} of process ${commit.line.life}`,
        );
      }
    });
    return problems;
  }
}

/** Where effects are not in the order of the events of their sequence. */
export function disorderOf(effects: readonly Effect[]): string[] {
  const last = new Map<string, number>();
  const problems: string[] = [];
  for (const { position, sequence, life } of effects) {
    const before = last.get(sequence) ?? 0;
    if (position <= before)
      problems.push(`position ${position} of ${sequence} came behind ${before}, in process ${life}`);
    last.set(sequence, Math.max(before, position));
  }
  return problems;
}

function isEffect(line: Line): line is Effect {
  return 'position' in line;
}

function isIn({ firstSlice, lastSlice }: SliceRange, slice: number): boolean {
  return firstSlice <= slice && slice <= lastSlice;
}
