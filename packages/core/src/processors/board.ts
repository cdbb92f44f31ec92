import type { Clock } from '../clock.js';
import type { Partition, WorkerPresence } from '../store/processor-state.js';
import type { StateStore } from '../store/state-store.js';

/** What a worker sees of all processors at one time. */
export interface View {
  readonly partitions: readonly Partition[];
  readonly workers: readonly WorkerPresence[];
  readonly paused: ReadonlySet<string>;
  /** How often each processor was told to go on. */
  readonly resumes: ReadonlyMap<string, number>;
}

/** How often a worker looks at what others do, at most. */
const LOOK_MS = 1500;

/** How often a worker with leases of this length looks at what others do. */
export function lookEveryMs(leaseMs: number): number {
  return Math.min(LOOK_MS, leaseMs / 4);
}

/** How a worker tells others that it is there; a run that only catches up does not, and takes nothing from anybody. */
export interface Announcement {
  readonly name: string;
  readonly ttlMs: number;
  /** What it would hold partitions of now. */
  readonly processors: () => readonly string[];
  readonly report: () => unknown;
}

/** Looks at the state for all processors of a worker at once, so that many cost no more than one. */
export class Board {
  readonly #state: StateStore;
  readonly #clock: Clock;
  readonly #announcement: Announcement | undefined;
  #newest: Promise<View> | undefined;
  #newestAt = -Infinity;
  #running: Promise<View> | undefined;
  #next: Promise<View> | undefined;

  constructor(state: StateStore, clock: Clock, announcement?: Announcement) {
    this.#state = state;
    this.#clock = clock;
    this.#announcement = announcement;
  }

  /** A view that was begun at most `maxAgeMs` ago. All who ask while one is on its way share it, or else the next. */
  look(maxAgeMs: number): Promise<View> {
    const now = this.#clock.now();
    if (this.#newest && now - this.#newestAt < maxAgeMs) return this.#newest;
    if (!this.#running) return this.#begin();
    return (this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    ));
  }

  #begin(): Promise<View> {
    this.#next = undefined;
    this.#newestAt = this.#clock.now();
    const looking = this.#read();
    this.#newest = looking;
    this.#running = looking;
    looking.then(
      () => (this.#running = undefined),
      () => (this.#running = this.#newest = undefined),
    );
    return looking;
  }

  /** Tells the others that the worker has gone. */
  async leave(): Promise<void> {
    if (this.#announcement) await this.#state.withdrawWorker(this.#announcement.name);
  }

  async #read(): Promise<View> {
    const [workers, partitions, { paused, resumes }] = await Promise.all([
      this.#announce(),
      this.#state.partitions(),
      this.#state.steering(),
    ]);
    return { workers, partitions, paused: new Set(paused), resumes };
  }

  async #announce(): Promise<readonly WorkerPresence[]> {
    if (!this.#announcement) return [];
    const { name, ttlMs, processors, report } = this.#announcement;
    return this.#state.announceWorker({ name, processors: processors(), report: report() }, ttlMs);
  }
}
