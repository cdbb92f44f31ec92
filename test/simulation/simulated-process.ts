import { StoreUnavailableError, type Clock } from '@refold/core';
import type { Random } from '../crash/random.js';
import type { Owner, Scheduler } from './scheduler.js';

/** How badly the store is within reach; all are chances for one call. */
export interface Faults {
  /** The call fails and nothing has happened. */
  readonly before: number;
  /** The call fails and it has happened. */
  readonly after: number;
  /** The process ends, before or after it has happened. */
  readonly crash: number;
}

export const NO_FAULTS: Faults = { before: 0, after: 0, crash: 0 };

/** What the processes of a run share. */
export interface Machine {
  readonly scheduler: Scheduler;
  readonly random: Random;
  faults: Faults;
}

/** How often an answer takes its time. */
const SLOW_ANSWERS = 0.25;

type Fate = 'done' | 'before' | 'after' | 'crash';

/**
 * A program with its own view of the time. Whatever it asks of the world outside waits for the scheduler, twice if the
 * answer is slow; it can be frozen, cut off from the store, or crash at each of these points.
 */
export class SimulatedProcess implements Owner {
  readonly name: string;
  readonly weight: number;
  readonly clock: Clock;
  frozenUntil = 0;
  /** The store is out of reach until then. */
  cutOffUntil = 0;
  readonly #machine: Machine;
  readonly #crash = new AbortController();

  constructor(name: string, machine: Machine) {
    const { scheduler, random } = machine;
    const [weight = 1] = random.sample([0.2, 1, 1, 3], 1);
    const skew = random.between(-300, 300);
    this.name = name;
    this.weight = weight;
    this.#machine = machine;
    this.clock = {
      now: () => scheduler.now + skew,
      sleep: (ms, signal) => (this.crashed ? never() : scheduler.sleep(this, ms, signal)),
    };
  }

  get crashed(): boolean {
    return this.#crash.signal.aborted;
  }

  /** Ends it at once: nothing that it waits for ever comes, and transactions that it has open are undone. */
  crash(): void {
    if (this.crashed) return;
    this.#machine.scheduler.note(`${this.name} crashes`);
    this.#crash.abort(new CrashError(this.name));
    this.#machine.scheduler.forget(this);
  }

  /** Nothing of it goes on for so long. */
  freeze(ms: number): void {
    this.frozenUntil = this.#machine.scheduler.now + ms;
    this.#machine.scheduler.note(`${this.name} freezes for ${ms} ms`);
  }

  /** Every call to the store fails for so long. */
  cutOff(ms: number): void {
    this.cutOffUntil = this.#machine.scheduler.now + ms;
    this.#machine.scheduler.note(`${this.name} is cut off for ${ms} ms`);
  }

  /** Goes on as if nothing had been wrong. */
  heal(): void {
    this.frozenUntil = 0;
    this.cutOffUntil = 0;
  }

  /** A call to the store. @throws StoreUnavailableError whether or not it has happened, and what `work` throws */
  async call<Result>(label: string, writes: boolean, work: () => Promise<Result>): Promise<Result> {
    await this.turn(label, { writes });
    const fate = this.#fate(writes);
    if (this.crashed) return never();
    if (fate === 'before') throw unavailable(label);
    let outcome: { readonly value: Result } | { readonly error: unknown };
    try {
      outcome = { value: await work() };
    } catch (error) {
      outcome = { error };
    }
    if (fate === 'crash') this.crash();
    if (this.crashed) return never();
    if (this.chance(SLOW_ANSWERS)) await this.turn(`${label} answered`);
    if (fate === 'after') throw unavailable(label);
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Something that is done elsewhere, where the process may end before or after it. */
  async external(label: string, work: () => Promise<void>): Promise<void> {
    const { random, faults } = this.#machine;
    await this.turn(label);
    const crashes = random.chance(faults.crash);
    const before = random.chance(0.5);
    if (crashes && before) this.crash();
    if (this.crashed) return never();
    await work();
    if (crashes) this.crash();
    if (this.crashed) return never();
    if (this.chance(SLOW_ANSWERS)) await this.turn(`${label} answered`);
  }

  /** Waits for its turn, which never comes after a crash. */
  async turn(label: string, options?: Parameters<Scheduler['turn']>[2]): Promise<void> {
    if (this.crashed) return never();
    await this.#machine.scheduler.turn(this, label, options);
  }

  /** A moment inside a transaction of its own, while nobody else writes. @throws CrashError, so that it is undone */
  async inside(label: string): Promise<void> {
    const { scheduler } = this.#machine;
    const { signal } = this.#crash;
    signal.throwIfAborted();
    scheduler.open(this);
    try {
      await scheduler.turn(this, label, { signal });
    } finally {
      scheduler.close();
    }
  }

  /** Whether something takes its time; nothing does once all is calm. */
  chance(probability: number): boolean {
    return !this.#machine.scheduler.calm && this.#machine.random.chance(probability);
  }

  #fate(writes: boolean): Fate {
    const { scheduler, random, faults } = this.#machine;
    if (this.cutOffUntil > scheduler.now) return 'before';
    if (random.chance(faults.crash)) {
      if (writes && random.chance(0.5)) return 'crash';
      this.crash();
    }
    if (random.chance(faults.before)) return 'before';
    return writes && random.chance(faults.after) ? 'after' : 'done';
  }
}

/** A process has ended while it was in a transaction. */
export class CrashError extends Error {
  constructor(name: string) {
    super(`${name} has crashed`);
  }
}

function never<Result>(): Promise<Result> {
  return new Promise(() => {});
}

function unavailable(label: string): StoreUnavailableError {
  return new StoreUnavailableError(label, new Error('simulated'));
}
