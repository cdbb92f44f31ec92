import {
  memoryStore,
  sliceOf,
  SLICES,
  type AppendResult,
  type DeadLetter,
  type LiveGeneration,
  type NewEvent,
  type MemoryStore,
  type SliceProgress,
} from '@refold/core';
import type { Random } from '../crash/random.js';
import { LeaseWatch } from './lease-watch.js';
import type { Scheduler } from './scheduler.js';
import { NO_FAULTS, type Faults, type Machine } from './simulated-process.js';

/** An event of the log, as a run knows it without reading the log. */
export interface KnownEvent {
  readonly position: number;
  readonly stream: string;
  readonly type: string;
  readonly n: number;
  readonly group: string;
}

/** What really is: the store, the time, and all that is known about the run from outside of the code under test. */
export class World implements Machine {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly store: MemoryStore;
  readonly leases = new LeaseWatch((what) => this.complain(what));
  readonly violations: string[] = [];
  faults: Faults = NO_FAULTS;
  /** Nothing that fails for a while fails any more. */
  healed = false;
  readonly #isReset: (processor: string) => boolean;
  readonly #events: KnownEvent[] = [];
  /** Events whose dead letters were given up in a generation that was replaced. */
  readonly #givenUp = new Set<string>();
  /** The furthest position behind which a generation of each processor has begun. */
  readonly #skipped = new Map<string, number>();
  readonly #before = new Map<string, Before>();

  /** `isReset` says of which processors somebody resets. */
  constructor(scheduler: Scheduler, random: Random, isReset: (processor: string) => boolean = () => false) {
    this.#isReset = isReset;
    this.scheduler = scheduler;
    this.random = random;
    this.store = memoryStore({ clock: { now: () => scheduler.now, sleep: () => new Promise(() => {}) } });
  }

  /** Something is not as it must be. */
  complain(what: string): void {
    this.scheduler.note(`VIOLATION: ${what}`);
    this.violations.push(what);
  }

  /** The events of the log in their order. */
  get events(): readonly KnownEvent[] {
    return this.#events;
  }

  get head(): number {
    return this.#events.length;
  }

  appended(stream: string, events: readonly NewEvent[], { position }: AppendResult): void {
    events.forEach(({ type, data }, index) => {
      const at = position - events.length + 1 + index;
      const { n, group } = data as { n: number; group: string };
      const known = this.#events[at - 1];
      if (known && known.n !== n) this.complain(`position ${at} is that of two events`);
      this.#events[at - 1] = { position: at, stream, type, n, group };
    });
  }

  /** A generation becomes live in the place of another, with its letters. Where nothing is reset, it is no less far. */
  activated(
    processor: string,
    next: LiveGeneration,
    live: LiveGeneration | undefined,
    letters: readonly DeadLetter[],
  ): void {
    const { generation } = next.generation;
    const furthest = sliceProgress(next);
    const behind = sliceProgress(live).findIndex((position, slice) => position > (furthest[slice] ?? 0));
    if (behind >= 0 && !this.#isReset(processor))
      this.complain(`"${processor}" generation ${generation} is swapped in, less far in slice ${behind}`);
    if (live) this.#before.set(`${processor} ${generation}`, this.#beforeAfter(live, letters));
  }

  /** What is processed, and what is not, when a live generation is replaced. */
  #beforeAfter({ generation, partitions }: LiveGeneration, letters: readonly DeadLetter[]): Before {
    const { processor, startedAfter } = generation;
    const { parts, owed } = this.#before.get(`${processor} ${generation.generation}`) ?? NOTHING_BEFORE;
    const own = partitions.flatMap((one) => [one, ...one.ahead]);
    const left = [...owed].filter(
      ([position, sequence]) => position <= startedAfter || !isDone(own, sequence, position),
    );
    for (const { position, sequence, discarded } of letters) {
      if (discarded) this.#givenUp.add(`${processor} ${position}`);
      else if (owed.has(position) || !isDone(parts, sequence, position)) left.push([position, sequence]);
    }
    return { parts: [...parts, ...own], owed: new Map(left) };
  }

  /** A generation begins behind a position. */
  began(processor: string, after: number): void {
    this.#skipped.set(processor, Math.max(after, this.#skipped.get(processor) ?? 0));
  }

  /**
   * Whether an event was passed over in some generation without having been handled, since its dead letter was given up
   * or the generation began behind it. To later generations it is a replay all the same.
   */
  wasPassedOver(processor: string, position: number): boolean {
    return this.#givenUp.has(`${processor} ${position}`) || position <= (this.#skipped.get(processor) ?? 0);
  }

  /** Whether an earlier generation has processed an event of a sequence. */
  wasProcessed(processor: string, generation: number, sequence: string, position: number): boolean {
    const { parts, owed } = this.#before.get(`${processor} ${generation}`) ?? NOTHING_BEFORE;
    return !owed.has(position) && isDone(parts, sequence, position);
  }
}

/** What earlier live generations had processed when a generation became live. */
interface Before {
  /** How far they were. */
  readonly parts: readonly SliceProgress[];
  /** What they had passed and not processed, by position: the sequences. */
  readonly owed: ReadonlyMap<number, string>;
}

const NOTHING_BEFORE: Before = { parts: [], owed: new Map() };

/** How far each slice of a generation is. */
function sliceProgress(live: LiveGeneration | undefined): number[] {
  const positions = new Array<number>(SLICES).fill(0);
  for (const part of live?.partitions.flatMap((one) => [one, ...one.ahead]) ?? []) {
    for (let slice = part.firstSlice; slice <= part.lastSlice; slice++)
      positions[slice] = Math.max(part.position, positions[slice] ?? 0);
  }
  return positions;
}

/** Whether some progress includes an event. */
export function isDone(progress: readonly SliceProgress[], sequence: string, position: number): boolean {
  const slice = sliceOf(sequence);
  return progress.some(
    (part) => part.firstSlice <= slice && slice <= part.lastSlice && position <= part.position,
  );
}
