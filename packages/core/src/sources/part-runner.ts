import { setImmediate } from 'node:timers/promises';
import { DefinitionError, LeaseLostError, messageOf, ProcessorStoppedError } from '../errors.js';
import type { Board } from '../processors/board.js';
import { Bound } from '../processors/bound.js';
import type { ProcessorContext } from '../processors/context.js';
import { holderOf, shareOf } from '../processors/fair-share.js';
import { Feed } from '../processors/feed.js';
import { dropReplaced, generationFor } from '../processors/generation-choice.js';
import type { LaneReport } from '../processors/lane.js';
import type { Checkpoints } from '../processors/lane-writer.js';
import { Lanes, type LaneEnd } from '../processors/lanes.js';
import type { LeaseKeeper } from '../processors/lease-keeper.js';
import type { Processor } from '../processors/processor.js';
import { sharingKey } from '../processors/runner.js';
import { untilAvailable } from '../processors/transient.js';
import { Wakeup } from '../processors/wakeup.js';
import type { Partition } from '../store/processor-state.js';
import { equalRanges } from '../store/slice-progress.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import { baseOf, PartLog } from './part-log.js';
import type { PartitionedLog } from './partitioned-log.js';

/** What a reader's processors work with. */
export interface ReaderParts<Unit extends StateUnit> {
  readonly log: PartitionedLog;
  /** How many partitions the log has. */
  readonly count: number;
  readonly context: Omit<ProcessorContext<Unit>, 'log'>;
  readonly board: Board;
  readonly leases: LeaseKeeper;
  readonly checkpoints: Checkpoints;
  readonly holder: string;
  readonly leaseMs: number;
  readonly batchSize: number;
  /** Whether partitions are shared with other readers, or those taken that nobody holds. */
  readonly shares: boolean;
  /** Behind which positions, partition by partition, a first generation begins. */
  readonly startAfter: () => Promise<readonly number[]>;
}

/** One generation and the lanes that fill it, one for each partition of the log. */
interface Work<Unit extends StateUnit> {
  readonly generation: Generation;
  /** The partitions whose dead letters were looked at, where there are some and the run is to end. */
  readonly visited: Set<number> | undefined;
  readonly parts: readonly {
    readonly bound: Bound;
    readonly lanes: Lanes<Unit>;
    readonly feed: Feed<Unit>;
    readonly log: PartLog;
  }[];
}

/** How often a reader looks at what others do, at most. */
const LOOK_MS = 1000;

/** How often a run that is to end looks. */
const PASSIVE_LOOK_MS = 50;

/** One processor of a reader: a lane for each partition of the log, with that partition's own positions. */
export class PartRunner<Unit extends StateUnit> {
  readonly processor: Processor<Unit>;
  readonly #own: ReaderParts<Unit>;
  readonly #wakeup = new Wakeup();
  #work: Work<Unit> | undefined;
  #stopped: unknown;
  #unavailable = 0;
  /** Failures that were there when the run began: they are tried again. */
  #known: ReadonlySet<number> | undefined;

  constructor(processor: Processor<Unit>, parts: ReaderParts<Unit>) {
    this.processor = processor;
    this.#own = parts;
  }

  reports(): LaneReport[] {
    return this.#work?.parts.flatMap(({ lanes }) => lanes.reports()) ?? [];
  }

  /**
   * Follows the log until the signal aborts, or to where it reaches now. A newer version is built and swapped in first.
   * @throws ProcessorStoppedError, ProcessorOutdatedError, DefinitionError if the log has other partitions by now
   */
  async run(follow: boolean, signal: AbortSignal): Promise<void> {
    const to = follow ? undefined : await this.#heads();
    while (!signal.aborted) {
      const generation = await this.#choose(signal);
      if (generation.status !== 'live') await this.build(generation, signal);
      else if (await this.#fill(generation, to, signal)) return;
    }
  }

  /**
   * A new generation beside the live one, that begins behind these positions; or the one that is being built. Where nothing
   * is live it is so at once.
   */
  async prepare(after: readonly number[], resume: boolean): Promise<Generation> {
    const { state } = this.#own.context;
    const { name, version, collections } = this.processor;
    const options = { version, collections, partitions: this.#own.count, fresh: !resume, beside: true };
    const building = await state.createGeneration(name, options);
    const rows = await this.#rowsOf(building);
    await state.transaction(async (unit) => {
      const live = await unit.live(name);
      for (const [part, row] of rows.entries()) {
        const from = baseOf(part) + (after[part] ?? 0);
        // Whoever was here before has set them, and may have gone on.
        if (row.position === 0 && from > 0) await unit.advance(row, 0, from);
      }
      if (!live) await unit.activate(name, building.generation);
    });
    return building;
  }

  /** Fills a build up to where the live one is, or to where the log reaches, and swaps it in. */
  async build(building: Generation, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const live = await this.#live();
      const rows = live ? await this.#allRowsOf(live) : [];
      // Of a log that has got more partitions, it is filled to where that reaches.
      const to = rows.length === this.#own.count ? rows.map(({ position }) => position) : await this.#heads();
      if (!(await this.#fill(building, to, signal, live !== undefined))) {
        if (await this.#isGone(building)) return;
        continue;
      }
      if (await this.#swap(building)) return;
    }
  }

  async #choose(signal: AbortSignal): Promise<Generation> {
    const { context, count, startAfter } = this.#own;
    const { name, version } = this.processor;
    return untilAvailable(
      `processor "${name}"`,
      async () => {
        const live = await this.#live();
        if (live && live.version < version) return this.prepare([], true);
        // Until its first positions are set, nobody may begin.
        if (!live) await this.prepare(await startAfter(), true).catch(onlyLost);
        const { collections } = this.processor;
        const wanted = { name, version, collections, partitions: count };
        const generation = await generationFor(wanted, context.state, { head: never, readAll: never });
        await dropReplaced(context.state, name);
        return generation;
      },
      context,
      signal,
    );
  }

  /** Works until every partition is where it is to be (true), the signal aborts or the generation is gone (false). */
  async #fill(
    generation: Generation,
    to: readonly number[] | undefined,
    signal: AbortSignal,
    replaying = false,
  ): Promise<boolean> {
    const rows = await this.#rowsOf(generation);
    const visited = to !== undefined && (await this.#hasLetters(generation)) ? new Set<number>() : undefined;
    const work = {
      ...{ generation, visited },
      parts: rows.map((_, part) => this.#open(generation, part, to?.[part], replaying)),
    };
    this.#work = work;
    try {
      while (!signal.aborted) {
        const outcome = await this.#step(work);
        if (this.#stopped !== undefined) throw this.#takeStopped();
        if (outcome !== undefined) return outcome;
        await this.#rest(to !== undefined, signal);
      }
      return false;
    } finally {
      await Promise.all(work.parts.map(({ lanes }) => lanes.stop()));
      await Promise.all(work.parts.map(({ log }) => log.close()));
      await Promise.all(work.parts.map(({ feed }) => feed.idle()));
      this.#work = undefined;
    }
  }

  #open(
    generation: Generation,
    part: number,
    to: number | undefined,
    replaying: boolean,
  ): Work<Unit>['parts'][number] {
    const { context, holder, leaseMs, leases, checkpoints, batchSize } = this.#own;
    const { processor } = this;
    const log = new PartLog(this.#own.log, part);
    const slice = equalRanges(this.#own.count)[part]?.firstSlice ?? 0;
    const feed = new Feed(processor, { log, codec: context.codec }, () => batchSize, slice);
    const bound = new Bound(to ?? Infinity, { final: to !== undefined });
    const replayed = generation.replayed.filter((one) => one.firstSlice <= slice && slice <= one.lastSlice);
    const before = Math.max(0, ...replayed.map(({ position }) => position));
    const lanes = new Lanes<Unit>({
      ...{ processor, feed, bound, holder, leaseMs, leases, checkpoints, batchSize },
      context: { ...context, log },
      whole: true,
      handling: { isReplay: replaying ? () => true : ({ position }) => position <= before },
      onCommit: () => {},
      onEnd: (_, end) => this.#onEnd(end),
    });
    return { log, feed, bound, lanes };
  }

  /** Takes and gives up partitions. True when all is done, false when the generation is gone. */
  async #step({ generation, parts, visited }: Work<Unit>): Promise<boolean | undefined> {
    const { board, holder, shares, context } = this.#own;
    const final = parts.every(({ bound }) => bound.final);
    const { partitions, workers, paused } = await board.look(final ? 0 : LOOK_MS / 2);
    const rows = partitions
      .filter((one) => one.processor === generation.processor && one.generation === generation.generation)
      .sort((one, other) => one.firstSlice - other.firstSlice);
    if (rows.length === 0 || !(await this.#isSame(generation))) return false;
    const halted = paused.has(generation.processor) || this.#failedElsewhere(rows, parts);
    if (halted) {
      await Promise.all(parts.map(({ lanes }) => lanes.stop()));
      if (halted instanceof Error && final) throw halted;
      return undefined;
    }
    const open = rows.filter(
      (row, part) => row.position < (parts[part]?.bound.to ?? 0) || visited?.has(row.firstSlice) === false,
    );
    if (final && open.length === 0 && parts.every(({ lanes }) => lanes.size === 0)) return true;
    const now = context.clock.now();
    const key = sharingKey(this.processor);
    const others = workers.filter(({ processors }) => processors.includes(key)).map(({ name }) => name);
    const share = shares
      ? shareOf(open, holder, others, now)
      : { acquire: open.filter((one) => holderOf(one, now) === undefined), release: 0 };
    const held = parts.filter(({ lanes }) => lanes.size > 0);
    await Promise.all(held.slice(0, share.release).map(({ lanes }) => lanes.stop()));
    for (const row of share.acquire) {
      const part = parts[rows.indexOf(row)];
      if (part?.lanes.size === 0 && (await part.lanes.start(row))) visited?.add(row.firstSlice);
    }
    return undefined;
  }

  /** Makes the build live if it is nowhere behind the live one. */
  async #swap(building: Generation): Promise<boolean> {
    const { state } = this.#own.context;
    const { processor, generation } = building;
    const rows = await this.#rowsOf(building);
    const swapped = await state.transaction(async (unit) => {
      const live = await unit.live(processor);
      const same = live?.partitions.length === rows.length;
      const behind = live?.partitions.some(
        (one) => same && rows.some((row) => row.firstSlice === one.firstSlice && row.position < one.position),
      );
      if (behind) return false;
      await unit.activate(processor, generation);
      return true;
    });
    if (swapped) await dropReplaced(state, processor);
    return swapped;
  }

  /** The partitions of a generation, in the order of the log's. @throws DefinitionError if they are not as many */
  async #rowsOf({ processor, generation }: Generation): Promise<readonly Partition[]> {
    const rows = await this.#allRowsOf({ processor, generation });
    if (rows.length === this.#own.count || rows.length === 0) return rows;
    throw new DefinitionError(
      `Processor "${processor}"`,
      `${this.#own.log.name} has ${this.#own.count} partitions, it has checkpoints for ${rows.length}: rebuild it`,
    );
  }

  async #allRowsOf({
    processor,
    generation,
  }: Pick<Generation, 'processor' | 'generation'>): Promise<readonly Partition[]> {
    const all = await this.#own.context.state.partitions(processor);
    return all
      .filter((one) => one.generation === generation)
      .sort((one, other) => one.firstSlice - other.firstSlice);
  }

  async #heads(): Promise<number[]> {
    const { log, count } = this.#own;
    const bounds = await Promise.all(Array.from({ length: count }, (_, part) => log.bounds(part)));
    return bounds.map(({ last }, part) => baseOf(part) + Math.max(0, last));
  }

  async #hasLetters({ processor, generation }: Generation): Promise<boolean> {
    const counts = await this.#own.context.state.countDeadLetters(processor);
    return counts.some((one) => one.generation === generation && one.count > 0);
  }

  async #live(): Promise<Generation | undefined> {
    const all = await this.#own.context.state.generations(this.processor.name);
    return all.find(({ status }) => status === 'live');
  }

  async #isSame({ processor, generation, status }: Generation): Promise<boolean> {
    const all = await this.#own.context.state.generations(processor);
    return all.some((one) => one.generation === generation && one.status === status);
  }

  async #isGone(building: Generation): Promise<boolean> {
    return !(await this.#isSame(building));
  }

  /** Another reader has stopped at an error since this run began. */
  #failedElsewhere(
    rows: readonly Partition[],
    parts: Work<Unit>['parts'],
  ): ProcessorStoppedError | undefined {
    const failures = rows.flatMap(({ failure }, part) =>
      failure && parts[part]?.lanes.size === 0 ? [failure] : [],
    );
    const known = (this.#known ??= new Set(failures.map(({ at }) => at.getTime())));
    const failure = failures.find(({ at }) => !known.has(at.getTime()));
    return (
      failure && new ProcessorStoppedError(this.processor.name, failure.event, new Error(failure.message))
    );
  }

  #onEnd({ kind, error }: LaneEnd): void {
    const { logger } = this.#own.context;
    this.#unavailable = kind === 'unavailable' ? this.#unavailable + 1 : 0;
    if (kind === 'stopped') this.#stopped ??= error;
    if (kind === 'unavailable' || kind === 'lost') {
      logger.warn(`processor "${this.processor.name}" tries again: ${messageOf(error)}`);
    }
    this.#wakeup.wake();
  }

  #takeStopped(): unknown {
    const stopped = this.#stopped;
    this.#stopped = undefined;
    return stopped;
  }

  async #rest(final: boolean, signal: AbortSignal): Promise<void> {
    const { clock } = this.#own.context;
    const pause = final ? PASSIVE_LOOK_MS : Math.min(LOOK_MS, this.#own.leaseMs / 4);
    const wait = this.#unavailable > 0 ? Math.min(5000, 25 * 2 ** this.#unavailable) : pause;
    await this.#wakeup.wait(wait, clock, signal);
    await setImmediate();
  }
}

/** Another reader was faster. */
function onlyLost(error: unknown): void {
  if (!(error instanceof LeaseLostError)) throw error;
}

function never(): never {
  throw new Error('A live generation needs no log');
}
