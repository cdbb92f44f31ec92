import { Flows, type FlowMetrics } from '../deliveries/flow/flow.js';
import { InvalidArgumentError, ProcessorOutdatedError, UnsupportedError } from '../errors.js';
import type { Partition } from '../store/processor-state.js';
import { checkPosition } from '../store/read-range.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './context.js';
import { DeadLetters } from './dead-letters.js';
import { holderOf } from './fair-share.js';
import { dropReplaced } from './generation-choice.js';
import type { Processor } from './processor.js';
import type { OnProgress } from './progress.js';
import { replayWindow, type ReplayOptions } from './replay.js';
import { statusOf, type ProcessorStatus } from './status.js';
import { Verifier, type Verification } from './verify.js';
import type { RunOptions, Worker } from './worker.js';

/** What a rebuild begins with and how it is watched and ended. */
export interface RebuildOptions extends RunOptions {
  /** Build from the events behind this position. Default 0: the whole log. */
  readonly after?: number;
  /** Go on with a build of this version that was interrupted, instead of beginning anew. Default false. */
  readonly resume?: boolean;
  readonly onProgress?: OnProgress;
}

/** How a processor does. */
export interface ProcessorMetrics
  extends FlowMetrics, Pick<ProcessorStatus, 'lag' | 'lagMs' | 'deadLetters'> {}

/** How long a pause waits for workers to finish what they have in hand. */
export interface PauseOptions {
  /** After this their leases are taken away, and what they have in hand is not committed. Default 10,000. */
  readonly timeoutMs?: number;
}

/** Which partition is split, and where. */
export interface SplitOptions {
  /** The first slice of the partition. Default: the widest one. */
  readonly firstSlice?: number;
  /** The first slice of its second half. Default: the middle. */
  readonly at?: number;
}

/** How a verification is watched and ended. */
export interface VerifyOptions extends RunOptions {
  /** Differences that are listed, at most. Default 100. */
  readonly limit?: number;
  readonly onProgress?: OnProgress;
}

/** Makes the worker that a command works with. */
export type WorkerFor<Unit extends StateUnit> = (
  processor: Processor<Unit>,
  options: { readonly onProgress?: OnProgress },
) => Worker<Unit>;

/**
 * Steers one processor, from any process: what is said here is kept in the store, and every worker sees it within two
 * seconds.
 */
export class ProcessorHandle<Unit extends StateUnit = StateUnit> {
  /** The events that it could not handle. */
  readonly deadLetters: DeadLetters<Unit>;
  readonly #processor: Processor<Unit>;
  readonly #context: ProcessorContext<Unit>;
  readonly #workerFor: WorkerFor<Unit>;

  /** @internal `application.processor(name)` hands it out. */
  constructor(processor: Processor<Unit>, context: ProcessorContext<Unit>, workerFor: WorkerFor<Unit>) {
    this.#processor = processor;
    this.#context = context;
    this.#workerFor = workerFor;
    this.deadLetters = new DeadLetters(processor.name, context);
  }

  get name(): string {
    return this.#processor.name;
  }

  /** Where it is, in all and by partition, and what it waits for. */
  async status(): Promise<ProcessorStatus> {
    const [status] = await statusOf([this.#processor], this.#context);
    if (!status) throw new Error(`There is no status of "${this.name}"`);
    return status;
  }

  /**
   * What this process has done for it since the application was created, which is only part of it where others share it; and
   * where it is in all, which `status` tells too.
   */
  async metrics(): Promise<ProcessorMetrics> {
    const { lag, lagMs, deadLetters } = await this.status();
    const flows = this.#context.flows ?? new Flows(this.#context.clock);
    return { ...flows.of(this.#processor).metrics(), lag, lagMs, deadLetters };
  }

  /**
   * Lets nobody work on it until `resume`. When this resolves nothing more of it is committed, by any worker. An inline
   * projection cannot be paused.
   */
  async pause({ timeoutMs = 10_000 }: PauseOptions = {}): Promise<void> {
    const { state, clock, control } = this.#context;
    this.#refuseInline('pausing');
    await state.setPaused(this.name, true);
    control.wake();
    const deadline = clock.now() + timeoutMs;
    while ((await this.#held()).length > 0) {
      if (clock.now() >= deadline) return state.setPaused(this.name, true, { fence: true });
      await clock.sleep(20);
    }
    // Somebody may have asked for a lease just before the pause.
    await state.setPaused(this.name, true, { fence: true });
  }

  /** Ends a pause. A processor that stopped at an error is tried again too. */
  async resume(): Promise<void> {
    await this.#context.state.setPaused(this.name, false);
    this.#context.control.wake();
  }

  /**
   * Begins anew behind a position, at once: read models are empty and fill again, dead letters and timers are gone. What
   * it processed before is a replay for its handlers, and what its dead letters held back is not. To keep a read model
   * readable meanwhile, `rebuild` it instead.
   */
  async reset({ to = 0 }: { readonly to?: number } = {}): Promise<void> {
    checkPosition('to', to);
    this.#refuseInline('resetting');
    const { state, control } = this.#context;
    const { name, version, collections, partitions } = this.#processor;
    await this.#checkVersion();
    const fresh = await state.createGeneration(name, {
      version,
      collections,
      partitions,
      after: to,
      fresh: true,
      beside: true,
    });
    await state.transaction(async (unit) => {
      // Every swap locks in this order, so that none waits for another that waits for it.
      await unit.live(name);
      await unit.activate(name, fresh.generation);
    });
    await dropReplaced(state, name);
    control.wake();
  }

  /** Cuts a partition in two, so that one more worker can share in. No event is left out or repeated in its effects. */
  async split({ firstSlice, at }: SplitOptions = {}): Promise<void> {
    this.#refuseInline('splitting');
    const all = await this.#partitions();
    const width = (one: Partition): number => one.lastSlice - one.firstSlice;
    const widest = [...all].sort((a, b) => width(b) - width(a))[0];
    const partition = firstSlice === undefined ? widest : all.find((one) => one.firstSlice === firstSlice);
    if (!partition)
      throw new InvalidArgumentError(
        'firstSlice',
        firstSlice,
        `must be that of a partition of "${this.name}"`,
      );
    const middle = Math.ceil((partition.firstSlice + partition.lastSlice) / 2);
    await this.#context.state.splitPartition(partition, at ?? middle);
    this.#context.control.wake();
  }

  /** Makes one of a partition and its right neighbour; by default of the narrowest two. Exact like `split`. */
  async merge({ firstSlice }: { readonly firstSlice?: number } = {}): Promise<void> {
    const all = await this.#partitions();
    const widths = all.slice(1).map((one, index) => one.lastSlice - (all[index]?.firstSlice ?? 0));
    const narrowest = all[widths.indexOf(Math.min(...widths))];
    const partition = firstSlice === undefined ? narrowest : all.find((one) => one.firstSlice === firstSlice);
    if (!partition)
      throw new InvalidArgumentError(
        'firstSlice',
        firstSlice,
        `must be that of a partition of "${this.name}" with a right neighbour`,
      );
    await this.#context.state.mergePartitions(partition);
    this.#context.control.wake();
  }

  /**
   * Builds the read model anew beside the live one, from the whole log or from the events behind a position, and swaps
   * it in in one step. The live one is served and kept up meanwhile, and is untouched if the build fails.
   * @throws ProcessorStoppedError when a handler fails, the signal's reason when it aborts
   */
  async rebuild({
    after = 0,
    resume = false,
    onProgress,
    signal = never(),
  }: RebuildOptions = {}): Promise<void> {
    checkPosition('after', after);
    await this.#workerFor(this.#processor, { onProgress }).rebuild(
      this.#processor,
      { after, resume },
      signal,
    );
  }

  /**
   * Puts back what the last swap replaced: the older version, or the build before a rebuild. It is brought up to where
   * the live one is, and swapped in in one step; a second rollback undoes the first. Workers with the other version's
   * code wait. It takes the code of the version that is put back.
   * @throws InvalidArgumentError if there is nothing of this code's version to put back
   */
  async rollback({
    onProgress,
    signal = never(),
  }: RunOptions & { readonly onProgress?: OnProgress } = {}): Promise<void> {
    const { state } = this.#context;
    const { name, version } = this.#processor;
    const replaced = (await state.generations(name)).findLast(({ status }) => status === 'retired');
    if (replaced?.version !== version) {
      const what = replaced ? `version ${replaced.version}` : 'nothing';
      throw new InvalidArgumentError(
        'version',
        version,
        `must be that of what was replaced: of "${name}" that is ${what}`,
      );
    }
    const reopened = await state.reopenGeneration(name, replaced.generation);
    await this.#workerFor(this.#processor, { onProgress }).swapIn(this.#processor, reopened, signal);
  }

  /** Drops what a rollback could put back, with its tables. Returns the versions that were dropped. */
  async dropReplaced(): Promise<readonly number[]> {
    const { state } = this.#context;
    const retired = (await state.generations(this.name)).filter(({ status }) => status === 'retired');
    for (const { generation } of retired) await state.dropGeneration(this.name, generation);
    return retired.map(({ version }) => version);
  }

  /**
   * Builds a shadow of the read model from the log and compares it with the live one, document by document, when both are
   * at the same position. Differences tell of drift, or of handlers that depend on more than their events.
   * @throws ProcessorStoppedError when a handler fails, UnsupportedError for a projection with tables
   */
  verify({ limit = 100, onProgress, signal = never() }: VerifyOptions = {}): Promise<Verification> {
    const worker = this.#workerFor(this.#processor, { onProgress });
    const fill = (shadow: Generation): Promise<boolean> => worker.fill(this.#processor, shadow, signal);
    return new Verifier(this.#processor, this.#context, fill).run(limit, signal);
  }

  /** Hands a window of the log to its handlers once more, without touching its checkpoints; see `ReplayOptions`. */
  replay(options: ReplayOptions = {}): Promise<number> {
    return replayWindow(this.#processor, this.#context, options);
  }

  async #partitions(): Promise<Partition[]> {
    const live = await this.#live();
    const all = await this.#context.state.partitions(this.name);
    return all.filter(({ generation }) => generation === live?.generation);
  }

  async #held(): Promise<Partition[]> {
    const now = this.#context.clock.now();
    return (await this.#context.state.partitions(this.name)).filter(
      (one) => holderOf(one, now) !== undefined,
    );
  }

  async #live(): Promise<Generation | undefined> {
    return (await this.#context.state.generations(this.name)).find(({ status }) => status === 'live');
  }

  async #checkVersion(): Promise<void> {
    const live = await this.#live();
    const { name, version } = this.#processor;
    if (live && live.version > version) throw new ProcessorOutdatedError(name, version, live.version);
  }

  #refuseInline(what: string): void {
    if (this.#processor.mode !== 'inline') return;
    throw new UnsupportedError(
      `${what} the inline projection "${this.name}"`,
      'appends keep it: rebuild it instead',
    );
  }
}

function never(): AbortSignal {
  return new AbortController().signal;
}
