import type { Random } from '../crash/random.js';
import { settled } from './event-loop.js';

/** Something that waits for its turn: a call to the store, its answer, or a sleeper. */
interface Waiting {
  readonly owner: Owner;
  readonly label: string;
  /** Whether it cannot go on while a transaction is open. */
  readonly writes: boolean;
  readonly dueAt: number;
  readonly go: () => void;
}

/** Whose turns they are. */
export interface Owner {
  readonly name: string;
  /** How often it has its turn, compared with others. */
  readonly weight: number;
  /** A frozen one has no turns until then. */
  frozenUntil: number;
}

/** A turn that is asked for. */
export interface TurnOptions {
  readonly writes?: boolean;
  /** Ends the wait: the turn is not taken. */
  readonly signal?: AbortSignal;
}

/** How often time passes although somebody could do something. */
const IMPATIENCE = 0.06;

/**
 * Decides what happens next: which of the waiting calls goes on, or that time passes. One thing happens at a time, and
 * only when all code has come to rest, so that the seed alone decides the order of everything.
 */
export class Scheduler {
  readonly #random: Random;
  #now = Date.UTC(2030, 0, 1);
  #waiting: Waiting[] = [];
  #open: Owner | undefined;
  #steps = 0;
  #hash = 0x811c9dc5;
  /** Everybody has a turn in the order of asking, and no time passes before all have had it. */
  calm = false;
  readonly #trace: string[] | undefined;

  constructor(random: Random, { trace = false }: { readonly trace?: boolean } = {}) {
    this.#random = random;
    this.#trace = trace ? [] : undefined;
  }

  /** Milliseconds since the epoch. */
  get now(): number {
    return this.#now;
  }

  /** How many things have happened. */
  get steps(): number {
    return this.#steps;
  }

  /** Identifies everything that has happened, in its order. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  /** What happened; empty unless it was asked for. */
  get trace(): readonly string[] {
    return this.#trace ?? [];
  }

  /** Notes what happens. */
  note(what: string): void {
    for (let at = 0; at < what.length; at++) {
      this.#hash = Math.imul(this.#hash ^ what.charCodeAt(at), 0x01000193);
    }
    this.#trace?.push(`${String(this.#steps).padStart(5)} ${String(this.#now % 1e7).padStart(8)}  ${what}`);
  }

  /** Resolves when it is the owner's turn; rejects with the signal's reason. */
  turn(owner: Owner, label: string, { writes = false, signal }: TurnOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#remove(waiting);
        reject(signal?.reason);
      };
      const go = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const waiting = { owner, label, writes, dueAt: 0, go };
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiting);
    });
  }

  /** Resolves when so much time has passed, or at once when the signal aborts. */
  sleep(owner: Owner, ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = { owner, label: 'wakes', writes: false, dueAt: this.#now + ms, go: () => wake() };
      const wake = (): void => {
        signal?.removeEventListener('abort', wake);
        this.#remove(waiting);
        resolve();
      };
      if (signal?.aborted) return resolve();
      signal?.addEventListener('abort', wake, { once: true });
      this.#waiting.push(waiting);
    });
  }

  /** Nobody else writes until `close`. */
  open(owner: Owner): void {
    this.#open = owner;
  }

  close(): void {
    this.#open = undefined;
  }

  /** Forgets everything that an owner waits for. */
  forget(owner: Owner): void {
    this.#waiting = this.#waiting.filter((one) => one.owner !== owner);
    if (this.#open === owner) this.#open = undefined;
  }

  /** Lets one thing happen; false if nothing ever will. */
  async step(): Promise<boolean> {
    await settled();
    this.#steps += 1;
    const ready = this.#waiting.filter((one) => this.#isReady(one));
    if (ready.length === 0 || (!this.calm && this.#random.chance(IMPATIENCE))) {
      if (this.#passTime()) return true;
      if (ready.length === 0) return false;
    }
    const chosen = this.#choose(ready);
    this.#remove(chosen);
    this.note(`${chosen.owner.name} ${chosen.label}`);
    chosen.go();
    return true;
  }

  #isReady({ owner, writes, dueAt }: Waiting): boolean {
    if (owner.frozenUntil > this.#now || dueAt > this.#now) return false;
    return !writes || this.#open === undefined;
  }

  #choose(ready: readonly Waiting[]): Waiting {
    if (this.calm && ready[0]) return ready[0];
    const owners = [...new Set(ready.map(({ owner }) => owner))];
    let left = this.#random.next() * owners.reduce((sum, { weight }) => sum + weight, 0);
    const owner = owners.find(({ weight }) => (left -= weight) < 0) ?? owners[0];
    const [chosen] = this.#random.sample(
      ready.filter((one) => one.owner === owner),
      1,
    );
    if (!chosen) throw new Error('Nothing can be chosen from nothing');
    return chosen;
  }

  /** Goes on to the next moment at which somebody wakes. */
  #passTime(): boolean {
    const times = this.#waiting.flatMap(({ owner, dueAt }) => {
      const at = Math.max(dueAt, owner.frozenUntil);
      return at > this.#now ? [at] : [];
    });
    if (times.length === 0) return false;
    this.#now = Math.min(...times);
    this.note('time passes');
    return true;
  }

  #remove(waiting: Waiting): void {
    const index = this.#waiting.indexOf(waiting);
    if (index >= 0) this.#waiting.splice(index, 1);
  }
}
