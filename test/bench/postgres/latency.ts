import { setTimeout as sleep } from 'node:timers/promises';
import { eventAt } from '../accounts.js';
import { collectGarbage, type Bar, type Bench } from '../harness.js';
import type { Emmett } from './emmett.js';
import {
  followByHand,
  followDelivery,
  followEmmett,
  followNotifications,
  followOurs,
  type Follower,
  type Open,
} from './followers.js';
import { stream, type Logs } from './logs.js';

/** How long a handler waits for what was committed: when nothing else happens, and while others append. */
export async function compareLatency(bench: Bench, logs: readonly Logs[], emmett: Emmett): Promise<void> {
  for (const [index, one] of logs.entries()) {
    const longest = index === logs.length - 1;
    const contenders = new Contenders(bench, one, index === 0 ? emmett : undefined);
    await contenders.compareIdle(longest ? { atMost: 3 } : undefined);
    await contenders.compareLoaded();
  }
}

/** How long a delivery's handler in a worker waits for what was committed. */
export async function compareDeliveryLatency(bench: Bench, one: Logs): Promise<void> {
  const contenders = new Contenders(bench, one, undefined, followDelivery(one));
  await contenders.compareIdle({ atMost: 3 });
  await contenders.compareLoaded();
}

/** Appends a second under load: few enough for Emmett's reader. */
const RATE = 500;

/** The longest that a handler may take before its event counts as lost. */
const LOST_MS = 10_000;

/** It loses events when several are appended at once; see its issue 239. */
const EMMETT = 'Emmett';

/** The number of the first event: far behind those of the log. */
const FIRST = 1_000_000_000;

/** One of those compared, and what was measured of it, in microseconds. */
class Contender {
  readonly name: string;
  /** From the answer of the append to the beginning of the handler. */
  readonly fromCommit: number[] = [];
  /** From the call of the append, so with its commit, to the beginning of the handler. */
  readonly fromCall: number[] = [];
  /** Events that were never handled, and that were handled again. */
  lost = 0;
  repeated = 0;
  readonly #open: Open;
  readonly #waiting = new Map<string, (at: number) => void>();
  readonly #handled = new Set<string>();
  #next = FIRST;
  #append: Follower['append'] = () => Promise.reject(new Error('The follower is not open'));

  constructor(name: string, open: Open) {
    this.name = name;
    this.#open = open;
  }

  /** Opens a follower, waits until it handles what is appended, and probes it. */
  async follow(probe: () => Promise<void>): Promise<void> {
    collectGarbage();
    followers += 1;
    const follower = await this.#open(`followed_${followers}`, (reference) => this.#onHandled(reference));
    this.#append = (name, event) => follower.append(name, event);
    const before = this.#handled.size;
    while (this.#handled.size === before) {
      await this.#append(stream('followed'), eventAt(this.#next++));
      await sleep(50);
    }
    await sleep(500);
    await probe();
    await follower.close();
  }

  /** One append at a time, with pauses in which everything comes to rest. */
  async probeIdle(probes: number): Promise<void> {
    for (let probe = 0; probe < probes; probe++) {
      await sleep(10 + Math.random() * 10);
      await this.#probe();
    }
  }

  /** Appends in step with the clock, whether earlier ones are answered or not. */
  async probeLoaded(count: number): Promise<void> {
    const started = performance.now();
    const probes: Promise<void>[] = [];
    while (probes.length < count) {
      const due = Math.min(count, Math.ceil(((performance.now() - started) / 1000) * RATE));
      while (probes.length < due) probes.push(this.#probe());
      await sleep(1);
    }
    await Promise.all(probes);
  }

  async #probe(): Promise<void> {
    const index = this.#next++;
    const event = eventAt(index);
    const handled = new Promise<number>((resolve) => this.#waiting.set(event.reference, resolve));
    const called = performance.now();
    await this.#append(stream(`followed${index % 1000}`), event);
    const committed = performance.now();
    const at = await Promise.race([handled, sleep(LOST_MS, undefined, { ref: false })]);
    if (at === undefined) {
      this.lost += 1;
      return;
    }
    // The notification may come before the answer.
    this.fromCommit.push(Math.max(0, at - committed) * 1000);
    this.fromCall.push((at - called) * 1000);
  }

  #onHandled(reference: string): void {
    if (this.#handled.has(reference)) this.repeated += 1;
    this.#handled.add(reference);
    this.#waiting.get(reference)?.(performance.now());
    this.#waiting.delete(reference);
  }
}

/** The contenders at one length of the log. */
class Contenders {
  readonly #bench: Bench;
  readonly #logs: Logs;
  readonly #emmett: Emmett | undefined;
  readonly #ours: Open;

  constructor(bench: Bench, logs: Logs, emmett: Emmett | undefined, ours = followOurs(logs)) {
    this.#bench = bench;
    this.#logs = logs;
    this.#emmett = emmett;
    this.#ours = ours;
  }

  async compareIdle(bar: Bar | undefined): Promise<void> {
    const [ours, ...others] = this.#all();
    const bare = new Contender('NOTIFY', followNotifications(this.#logs));
    const probes = this.#bench.quick ? 10 : 200;
    await this.#measure([ours, bare, ...others], (one) =>
      // Emmett takes half a second for each.
      one.probeIdle(one.name === EMMETT ? Math.ceil(probes / 20) : probes),
    );
    this.#report('idle', ours, [bare, ...others], bar);
  }

  async compareLoaded(): Promise<void> {
    const [ours, ...others] = this.#all();
    await this.#measure([ours, ...others], (one) => one.probeLoaded(this.#bench.quick ? RATE / 5 : 5 * RATE));
    this.#report(`${RATE} appends a second`, ours, others);
  }

  #all(): [Contender, ...Contender[]] {
    return [
      new Contender('Refold', this.#ours),
      new Contender('a follower by hand', followByHand(this.#logs)),
      ...(this.#emmett ? [new Contender(EMMETT, followEmmett(this.#emmett))] : []),
    ];
  }

  /** Lets the contenders take turns. */
  async #measure(contenders: readonly Contender[], probe: (one: Contender) => Promise<void>): Promise<void> {
    this.#bench.note(`append to handler, log of ${this.#logs.length.toLocaleString('en')}`);
    for (let round = 0; round < (this.#bench.quick ? 1 : 3); round++) {
      for (let turn = 0; turn < contenders.length; turn++) {
        const one = contenders[(round + turn) % contenders.length];
        if (one) await one.follow(() => probe(one));
      }
    }
  }

  #report(when: string, ours: Contender, others: readonly Contender[], bar?: Bar): void {
    for (const other of others) {
      const row = (name: string, of: (one: Contender) => number, rowBar?: Bar): void =>
        this.#bench.add({
          name: `${name}, ${when}, raw being ${other.name}${missing(other)}`,
          unit: 'µs',
          length: this.#logs.length,
          n: ours.fromCall.length,
          ours: of(ours),
          raw: of(other),
          // What a peer loses does not make the run wrong: its name says it.
          correct: isComplete(ours) && (other.name === EMMETT || isComplete(other)),
          bar: rowBar,
        });
      const only = other.name === 'NOTIFY';
      row('append to handler p50', ({ fromCall }) => percentile(fromCall, 0.5), only ? bar : undefined);
      row('append to handler p99', ({ fromCall }) => percentile(fromCall, 0.99));
      // A bare notification arrives before the answer does.
      if (!only) row('answer to handler p50', ({ fromCommit }) => percentile(fromCommit, 0.5));
    }
  }
}

function isComplete({ lost, repeated }: Contender): boolean {
  return lost === 0 && repeated === 0;
}

/** What a contender has not handled. */
function missing({ lost, fromCall }: Contender): string {
  return lost === 0 ? '' : ` (${lost} of ${lost + fromCall.length} events never handled)`;
}

/** The value that a share of all values does not exceed. */
function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** No two followers share a name, because names are tables and checkpoints. */
let followers = 0;
