import {
  messageOf,
  ProcessorOutdatedError,
  ProcessorRolledBackError,
  ProcessorStoppedError,
} from '../errors.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { Failure, Partition, WorkerPresence } from '../store/processor-state.js';
import type { Generation, StateStore, StateUnit } from '../store/state-store.js';
import { BacklogWatch } from '../deliveries/flow/backlog-watch.js';
import { lookEveryMs, type Board, type View } from './board.js';
import { Bound } from './bound.js';
import type { ProcessorContext } from './context.js';
import { holderOf, shareOf } from './fair-share.js';
import { Feed } from './feed.js';
import { dropReplaced, generationFor } from './generation-choice.js';
import type { LaneReport } from './lane.js';
import type { Checkpoints } from './lane-writer.js';
import { Lanes, type LaneEnd } from './lanes.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { Processor } from './processor.js';
import { ProgressMeter, type OnProgress } from './progress.js';
import { ReplayCheck } from './replay-check.js';
import { swapIn } from './swap.js';
import { untilAvailable } from './transient.js';
import { Wakeup } from './wakeup.js';

/** How a worker's processors work. */
export interface RunnerOptions {
  /** Identifies the worker that holds the leases. */
  readonly holder: string;
  /** How long a lease lasts without renewal. */
  readonly leaseMs: number;
  /** Events read and committed at once, at most. */
  readonly batchSize: number;
  /** Called after every commit. */
  readonly onProgress?: OnProgress;
  /** Renews the leases of the worker's processors. */
  readonly leases: LeaseKeeper;
  readonly board: Board;
  readonly checkpoints: Checkpoints;
  /** Whether it shares the partitions with other workers, or takes whatever is free. */
  readonly shares: boolean;
}

/** What a run is for: to follow the log, or to end at a position. */
export type Goal = 'follow' | { readonly to: number };

/** One generation under one goal. */
interface Work<Unit extends StateUnit> {
  readonly generation: Generation;
  /** The live generation that it is built beside. */
  readonly beside: number | undefined;
  readonly bound: Bound;
  readonly replays: ReplayCheck<Unit>;
  readonly lanes: Lanes<Unit>;
  readonly feed: Feed<Unit>;
  /** The partitions whose dead letters were looked at, where there are some and the run is to end. */
  readonly visited: Set<number> | undefined;
}

/** How long a follower waits for its version to be live, at most, before it looks again. */
const VERSION_MS = 1500;

/** Batches that are read at once, at most. */
const MOST_BATCHES = 4;

/** How often a run that is to end somewhere looks whether others are there. */
const PASSIVE_LOOK_MS = 50;

/**
 * One processor in one worker: finds the generation to work on, takes its share of the partitions, swaps finished builds
 * in, and answers to pauses, failures and other workers.
 */
export class ProcessorRunner<Unit extends StateUnit> {
  readonly processor: Processor<Unit>;
  readonly #context: ProcessorContext<Unit>;
  readonly #options: RunnerOptions;
  readonly #backlog: BacklogWatch<Unit>;
  readonly #wakeup = new Wakeup();
  /** Failures that were there when the run began: they are tried again. */
  #known: ReadonlySet<number> | undefined;
  #lanes: Lanes<Unit> | undefined;
  #stopped: unknown;
  #unavailable = 0;
  #fresh = true;
  /** Whether there is a sign that the generation is no longer what it was. */
  #unsure = true;
  #meter: ProgressMeter | undefined;
  #resumes: number | undefined;
  #resumesBefore: number | undefined;
  #said = '';

  constructor(processor: Processor<Unit>, context: ProcessorContext<Unit>, options: RunnerOptions) {
    this.processor = processor;
    this.#context = context;
    this.#options = options;
    this.#backlog = new BacklogWatch(processor, context);
  }

  /** What the partitions that it holds are doing. */
  reports(): LaneReport[] {
    return this.#lanes?.reports() ?? [];
  }

  /**
   * How often the processor had been told to go on when what it stopped at began, or else when this last looked; undefined
   * before that.
   */
  get resumes(): number | undefined {
    return this.#resumesBefore ?? this.#resumes;
  }

  /**
   * Works until the goal is reached; builds and swaps in a new version first, where this code has one. True once the goal
   * is reached, false if the signal aborted before.
   * @throws ProcessorStoppedError, ProcessorOutdatedError, ProcessorRolledBackError
   */
  async run(goal: Goal, signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      const generation = await this.#choose(goal, signal);
      if (!generation) return false;
      if (generation.status === 'live') {
        // Whoever swapped may have crashed before it could.
        await this.#available(() => dropReplaced(this.#context.state, this.processor.name), signal);
        if (await this.#work(generation, goal, signal)) return true;
      } else {
        await this.build(generation, signal);
      }
    }
    return false;
  }

  /**
   * Fills a build up to where the live generation is, and swaps it in. False if the signal aborted, or if the build was
   * dropped or swapped in by another meanwhile. @throws ProcessorStoppedError
   */
  async build(building: Generation, signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if (!(await this.fill(building, signal))) return false;
      if (await this.#available(() => swapIn(this.processor, building, this.#context), signal)) return true;
    }
    return false;
  }

  /** Fills a build up to where the live generation is. False like `build`. */
  async fill(building: Generation, signal: AbortSignal): Promise<boolean> {
    const { state, log } = this.#context;
    const live = await this.#available(() => liveOf(building.processor, state), signal);
    const to = live ? leastOf(await state.partitions(building.processor), live) : await log.head();
    return this.#work(building, { to }, signal, live?.generation);
  }

  /** The generation that this code works on; while another version is live in its place, a follower waits. */
  async #choose(goal: Goal, signal: AbortSignal): Promise<Generation | undefined> {
    while (!signal.aborted) {
      try {
        const { state, log } = this.#context;
        return await this.#available(() => generationFor(this.processor, state, log), signal);
      } catch (error) {
        if (signal.aborted) return undefined;
        if (goal !== 'follow' || !isOtherVersion(error)) throw error;
        this.#say(`${error.message}; until then this worker leaves it alone`);
        // What ended before is no news any more: it would have this ask again and again without a rest.
        this.#fresh = false;
        await this.#rest(VERSION_MS, signal);
      }
    }
    return undefined;
  }

  /** Holds partitions of a generation until the goal is reached (true), or the generation is another's business (false). */
  async #work(generation: Generation, goal: Goal, signal: AbortSignal, beside?: number): Promise<boolean> {
    const bound = new Bound(goal === 'follow' ? Infinity : goal.to, { final: goal !== 'follow' });
    const visited = goal !== 'follow' && (await this.#hasLetters(generation)) ? new Set<number>() : undefined;
    const replays = new ReplayCheck(this.processor, generation, beside);
    await this.#available(() => replays.learn(this.#context.state), signal);
    const opened = this.#open(generation, bound, replays);
    const work = { generation, beside, bound, replays, visited, ...opened };
    this.#lanes = work.lanes;
    this.#fresh = true;
    this.#unsure = true;
    try {
      while (!signal.aborted) {
        const outcome = await this.#available(async () => this.#step(work, await this.#look(goal)), signal);
        if (this.#stopped !== undefined) break;
        if (outcome !== 'goOn') return outcome === 'reached';
        await this.#rest(this.#pauseMs(goal), signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await work.lanes.stop();
      await work.feed.idle();
      this.#lanes = undefined;
    }
    if (this.#stopped !== undefined) throw this.#takeStopped();
    return false;
  }

  async #step(
    work: Work<Unit>,
    { partitions, workers, paused }: View,
  ): Promise<'goOn' | 'reached' | 'changed'> {
    const { generation, beside, bound, lanes } = work;
    const { name } = this.processor;
    const own = partitions.filter(
      (one) => one.processor === name && one.generation === generation.generation,
    );
    if (own.length === 0 || !(await this.#isCurrent(generation, lanes))) return 'changed';
    if (paused.has(name)) {
      this.#say(`"${name}" is paused`);
      await lanes.stop();
      return 'goOn';
    }
    if (bound.final && lanes.size === 0 && own.every((one) => this.#isDone(one, work))) return 'reached';
    if (beside !== undefined && lanes.size === 0)
      await this.#raise(work, leastOf(partitions, { processor: name, generation: beside }));
    const failure = this.#failedElsewhere(own, lanes);
    if (failure) await this.#halt(failure, bound, lanes);
    else {
      await this.#balance(own, this.#sharing(workers), work);
      if (!bound.final && lanes.size > 0) await this.#backlog.look(own, lanes);
    }
    return 'goOn';
  }

  /** Others are not there yet: meanwhile the live one has moved on, and the swap should have little to make up. */
  async #raise({ bound, replays }: Work<Unit>, to: number): Promise<void> {
    if (to <= bound.to) return;
    await replays.learn(this.#context.state);
    bound.raise(to);
  }

  /** The workers that run the same code of this processor. */
  #sharing(workers: readonly WorkerPresence[]): string[] {
    const key = sharingKey(this.processor);
    return workers.filter(({ processors }) => processors.includes(key)).map((one) => one.name);
  }

  /** Whether a run that is to end has nothing more to do in a partition. */
  #isDone(partition: Partition, { bound, visited }: Work<Unit>): boolean {
    if (partition.position < bound.to) return false;
    if (!visited || visited.has(partition.firstSlice)) return true;
    return holderOf(partition, this.#context.clock.now()) !== undefined;
  }

  async #hasLetters({ processor, generation }: Generation): Promise<boolean> {
    const counts = await this.#context.state.countDeadLetters(processor);
    return counts.some((one) => one.generation === generation && one.count > 0);
  }

  /** Takes and gives up partitions. */
  async #balance(own: readonly Partition[], workers: readonly string[], work: Work<Unit>): Promise<void> {
    const { bound, lanes } = work;
    const { holder, shares } = this.#options;
    const now = this.#context.clock.now();
    // What is done needs nobody: whoever took it for its share would leave the rest to nobody.
    const open = own.filter((one) => lanes.has(one.firstSlice) || !this.#isDone(one, work));
    // What is this worker's own by name, without a lane, it has lost: it may take it again at once.
    const seen = open.map((one) =>
      one.holder === holder && !lanes.has(one.firstSlice) ? { ...one, holder: undefined } : one,
    );
    const share = shares
      ? shareOf(seen, holder, workers, now)
      : { acquire: seen.filter((one) => holderOf(one, now) === undefined), release: 0 };
    if (share.release > 0) await lanes.stop(share.release);
    for (const partition of share.acquire) {
      if (lanes.has(partition.firstSlice)) continue;
      // Whether it was lost to another version's swap shows in the generations.
      if (!(await lanes.start(partition))) this.#unsure = true;
      else work.visited?.add(partition.firstSlice);
      this.#meter ??= new ProgressMeter(this.processor.name, lanes.least() ?? 0, this.#context.clock);
    }
    if (lanes.size > 0 || own.every(({ position }) => position >= bound.to)) this.#said = '';
    else if (own.every((one) => holderOf(one, now) !== undefined)) {
      this.#say(`"${this.processor.name}" is held by another worker: waiting for its lease`);
    }
  }

  /** Another worker has stopped at an error since this run began. */
  #failedElsewhere(own: readonly Partition[], lanes: Lanes<Unit>): Failure | undefined {
    const failures = own.flatMap(({ failure, firstSlice }) =>
      failure && !lanes.has(firstSlice) ? [failure] : [],
    );
    const known = (this.#known ??= new Set(failures.map(({ at }) => at.getTime())));
    return failures.find(({ at }) => !known.has(at.getTime()));
  }

  async #halt(failure: Failure, bound: Bound, lanes: Lanes<Unit>): Promise<void> {
    const { name } = this.processor;
    if (bound.final) {
      this.#stopped ??= new ProcessorStoppedError(name, failure.event, new Error(failure.message));
      return;
    }
    this.#say(`"${name}" was stopped by another worker: ${failure.message}`);
    await lanes.stop();
  }

  #open(
    generation: Generation,
    bound: Bound,
    replays: ReplayCheck<Unit>,
  ): { lanes: Lanes<Unit>; feed: Feed<Unit> } {
    const { checkpoints, batchSize, leases, holder, leaseMs, onProgress } = this.#options;
    const { processor } = this;
    const context = this.#context;
    // Enough for all lanes to fill their batches: small ones commit, and write the same documents, more often.
    const feed = new Feed(
      processor,
      context,
      () => batchSize * Math.min(MOST_BATCHES, Math.max(1, lanes.size)),
    );
    this.#meter = undefined;
    const onCommit = (events: number): void => {
      const position = lanes.least() ?? 0;
      this.#meter?.advance(events);
      if (this.#meter)
        onProgress?.(this.#meter.at(position, Math.max(position, Math.min(bound.to, feed.head))));
    };
    const handling = { isReplay: (event: RecordedEvent): boolean => replays.isReplay(event) };
    const lanes: Lanes<Unit> = new Lanes({
      ...{
        processor,
        context,
        feed,
        checkpoints,
        bound,
        batchSize,
        handling,
        onCommit,
        leases,
        holder,
        leaseMs,
      },
      resumes: () => this.#resumes,
      onEnd: (firstSlice, end) => this.#onEnd(generation, firstSlice, end),
    });
    return { lanes, feed };
  }

  #onEnd(generation: Generation, firstSlice: number, { kind, error, resumes }: LaneEnd): void {
    const { logger } = this.#context;
    if (kind === 'stopped') {
      this.#stopped ??= error;
      this.#resumesBefore ??= resumes;
    }
    if (kind === 'unavailable') {
      this.#unavailable += 1;
      logger.warn(`processor "${this.processor.name}" tries again: ${messageOf(error)}`);
    } else {
      this.#unavailable = 0;
    }
    if (kind === 'lost') {
      this.#unsure = true;
      this.#reportLost(generation, firstSlice, error);
    }
    this.#fresh = true;
    this.#wakeup.wake();
  }

  /** A lease lost to another worker is worth a warning; one lost to a swap, a split or a pause is how it is meant. */
  #reportLost({ processor, generation }: Generation, firstSlice: number, error: unknown): void {
    const { state, logger } = this.#context;
    Promise.all([state.generations(processor), state.partitions(processor)]).then(
      ([generations, partitions]) => {
        const live = generations.find(({ status }) => status === 'live');
        const now = partitions.find((one) => one.generation === generation && one.firstSlice === firstSlice);
        const taken = now?.holder !== undefined && now.holder !== this.#options.holder;
        if (live && live.generation !== generation) {
          logger.info(`processor "${processor}" goes on with generation ${live.generation}`);
        } else if (taken) logger.warn(messageOf(error));
        else logger.info(`"${processor}" takes its share of the partitions anew`);
      },
      () => logger.warn(messageOf(error)),
    );
  }

  async #look(goal: Goal): Promise<View> {
    const age = this.#fresh ? 0 : goal === 'follow' ? this.#lookMs : PASSIVE_LOOK_MS;
    this.#fresh = false;
    const view = await this.#options.board.look(age);
    this.#resumes = view.resumes.get(this.processor.name) ?? 0;
    return view;
  }

  get #lookMs(): number {
    return lookEveryMs(this.#options.leaseMs);
  }

  #pauseMs(goal: Goal): number {
    if (this.#unavailable > 0) return Math.min(5000, 25 * 2 ** this.#unavailable) * (0.5 + Math.random() / 2);
    return goal === 'follow' ? this.#lookMs : PASSIVE_LOOK_MS;
  }

  /** Waits, unless a lane ends or somebody in this process steers a processor. */
  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#fresh && this.#unavailable === 0) return;
    const { clock, control } = this.#context;
    const over = new AbortController();
    const abort = (): void => over.abort();
    signal.addEventListener('abort', abort, { once: true });
    const steered = control.wait(ms, clock, over.signal).then((woken) => {
      this.#fresh ||= woken;
    });
    const woken = this.#wakeup.wait(ms, clock, over.signal);
    await Promise.race([steered, woken]);
    over.abort();
    signal.removeEventListener('abort', abort);
    await Promise.allSettled([steered, woken]);
  }

  /** Whether a generation still is what it was when the work on it began; asked only when there is a sign that it is not. */
  async #isCurrent({ processor, generation, status }: Generation, lanes: Lanes<Unit>): Promise<boolean> {
    if (status === 'live' && lanes.size > 0 && !this.#unsure) return true;
    const all = await this.#context.state.generations(processor);
    const current = all.some((one) => one.generation === generation && one.status === status);
    this.#unsure = false;
    return current;
  }

  #available<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    return untilAvailable(`processor "${this.processor.name}"`, work, this.#context, signal);
  }

  #say(message: string): void {
    if (this.#said === message) return;
    this.#said = message;
    this.#context.logger.info(message);
  }

  #takeStopped(): unknown {
    const stopped = this.#stopped;
    this.#stopped = undefined;
    return stopped;
  }
}

/** What names a processor's code in the list of workers: those with another version share other partitions. */
export function sharingKey({ name, version }: Pick<Processor, 'name' | 'version'>): string {
  return `${name}@${version}`;
}

function isOtherVersion(error: unknown): error is ProcessorOutdatedError | ProcessorRolledBackError {
  return error instanceof ProcessorOutdatedError || error instanceof ProcessorRolledBackError;
}

async function liveOf(
  processor: string,
  state: Pick<StateStore, 'generations'>,
): Promise<Generation | undefined> {
  return (await state.generations(processor)).find(({ status }) => status === 'live');
}

/** Where the partition of a generation is that is least far; 0 if it has none. */
function leastOf(
  partitions: readonly Partition[],
  { processor, generation }: Pick<Generation, 'processor' | 'generation'>,
): number {
  const own = partitions.filter((one) => one.processor === processor && one.generation === generation);
  return own.length > 0 ? Math.min(...own.map(({ position }) => position)) : 0;
}
