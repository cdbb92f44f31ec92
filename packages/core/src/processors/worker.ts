import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { hostname } from 'node:os';
import { InvalidArgumentError, messageOf, ProcessorStoppedError } from '../errors.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import { Board, lookEveryMs } from './board.js';
import type { ProcessorContext } from './context.js';
import { fireDueTimers } from './due-timers.js';
import { dropReplaced, generationFor } from './generation-choice.js';
import type { InlineProjections } from './inline.js';
import { Checkpoints } from './lane-writer.js';
import { LeaseKeeper } from './lease-keeper.js';
import type { Processor } from './processor.js';
import type { OnProgress } from './progress.js';
import { ProcessorRunner, sharingKey, type RunnerOptions } from './runner.js';
import { StoppedProcessors } from './stopped-processors.js';
import { isTransient, untilAvailable } from './transient.js';

/** How a worker holds and handles its processors. */
export interface WorkerOptions {
  /**
   * How long a lease lasts without renewal: the partitions of a worker that crashed or froze are free after it. Raise it
   * where a process may be busy for longer without a turn of its event loop. Default 5,000.
   */
  readonly leaseMs?: number;
  /** Events that are handled and committed together, at most; slow handlers get fewer by themselves. Default 5,000. */
  readonly batchSize?: number;
  /** Called after every commit of every processor. */
  readonly onProgress?: OnProgress;
  /** Names this worker where leases are shown; no two may share a name. Default: host, process id and a random part. */
  readonly name?: string;
}

/** How a run is ended from outside. */
export interface RunOptions {
  /** Ends the run when it aborts: batches in hand are finished, leases given back. */
  readonly signal?: AbortSignal;
}

/**
 * Runs an application's processors. Make it with `application.worker()`. Any number of workers may run, in any number of
 * processes: they spread the partitions of every processor evenly among them, take over from one that crashed when its
 * leases have run out, and hand over to one that joins.
 */
export class Worker<Unit extends StateUnit = StateUnit> {
  readonly name: string;
  readonly #processors: readonly Processor<Unit>[];
  readonly #context: ProcessorContext<Unit>;
  readonly #inline: InlineProjections<Unit>;
  readonly #options: Required<Pick<WorkerOptions, 'leaseMs' | 'batchSize'>> &
    Pick<WorkerOptions, 'onProgress'>;
  readonly #leases: LeaseKeeper;
  readonly #checkpoints: Checkpoints;

  constructor(
    processors: readonly Processor<Unit>[],
    inline: InlineProjections<Unit>,
    context: ProcessorContext<Unit>,
    options: WorkerOptions = {},
  ) {
    const { leaseMs = 5000, batchSize = 5000, onProgress } = options;
    if (!(leaseMs >= 10))
      throw new InvalidArgumentError('leaseMs', leaseMs, 'must be at least 10 milliseconds');
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
      throw new InvalidArgumentError('batchSize', batchSize, 'must be a whole number from 1');
    }
    this.name = options.name ?? `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
    this.#processors = processors;
    this.#inline = inline;
    this.#context = context;
    this.#options = { leaseMs, batchSize, onProgress };
    this.#leases = new LeaseKeeper(context, leaseMs);
    this.#checkpoints = new Checkpoints(context.state);
  }

  /**
   * Follows the log with all processors until the signal aborts. A processor that stops at an error stops alone, which
   * is logged at once and kept in its status; the others go on, and so does this one when it is resumed. Resolves when
   * all have ended.
   * @throws ProcessorStoppedError of the processor that stopped and was not resumed, or an AggregateError of several
   */
  async run(options: RunOptions = {}): Promise<void> {
    const signal = forMany(options.signal);
    const runners = new Map<Processor<Unit>, ProcessorRunner<Unit>>();
    const board = new Board(this.#context.state, this.#context.clock, {
      name: this.name,
      ttlMs: this.#options.leaseMs,
      processors: () => [...runners.keys()].map(sharingKey),
      report: () =>
        [...runners.values()].map((one) => ({ processor: one.processor.name, lanes: one.reports() })),
    });
    const stopped = new StoppedProcessors(this.#processors.length);
    try {
      await Promise.all(
        this.#processors.map((one) => this.#keepFollowing(one, { runners, board, stopped }, signal)),
      );
    } finally {
      await board.leave().catch((error: unknown) => {
        this.#context.logger.warn(`worker "${this.name}" is forgotten when its time is up: ${String(error)}`);
      });
    }
    throwAll(stopped.errors);
  }

  /**
   * Brings all processors to where the head of the log is now, and ends. It takes partitions that nobody holds and waits
   * for the others. Timers that are due by now fire, and what they lead to is handled too.
   * @throws like `run`
   */
  async catchUp({ signal = new AbortController().signal }: RunOptions = {}): Promise<void> {
    const by = this.#context.clock.now();
    const board = this.#board();
    for (let more = true; more;) {
      const head = await this.#context.log.head();
      await this.#all((processor) => this.#bring(processor, board, head, signal), signal);
      more = !signal.aborted && (await this.#fireTimers(by));
    }
  }

  /**
   * Builds a processor's read model anew, from the events behind `after`, beside the live one, which goes on being served
   * and kept up; then swaps the two in one step. `resume` goes on with a build that was interrupted.
   * @throws ProcessorStoppedError when the handler fails; the live read model is as it was
   */
  async rebuild(
    processor: Processor<Unit>,
    { after, resume }: { readonly after: number; readonly resume: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { state, log } = this.#context;
    const { name, version, collections, partitions } = processor;
    const head = await log.head();
    const options = { version, collections, partitions, after, fresh: !resume, beside: true };
    const building = await state.createGeneration(name, options);
    await this.swapIn(processor, building, signal);
    // Whoever keeps the live one up need not be running: the rebuilt one is brought to where the log was.
    if (processor.mode === 'async')
      await this.#runner(processor, this.#board(), false).run({ to: head }, signal);
  }

  /** Fills a build and swaps it in. @throws ProcessorStoppedError, the signal's reason */
  async swapIn(processor: Processor<Unit>, building: Generation, signal: AbortSignal): Promise<void> {
    if (await this.#runner(processor, this.#board(), false).build(building, signal)) return;
    signal.throwIfAborted();
    // Another worker may have finished this very build.
    const all = await this.#context.state.generations(processor.name);
    if (all.some(({ generation, status }) => generation === building.generation && status === 'live')) return;
    throw new ProcessorStoppedError(processor.name, undefined, new Error('another rebuild took its place'));
  }

  /** Fills a build up to where the live generation is, and leaves it there. @throws like `swapIn` */
  async fill(processor: Processor<Unit>, building: Generation, signal: AbortSignal): Promise<boolean> {
    return this.#runner(processor, this.#board(), false).fill(building, signal);
  }

  /** Makes an inline projection live in its version and brings it to the head; from there appends keep it. */
  async prepareInline(processor: Processor<Unit>, signal: AbortSignal): Promise<void> {
    const { state } = this.#context;
    for (;;) {
      const generation = await generationFor(processor, state, this.#context.log);
      if (generation.status === 'live') break;
      await this.#runner(processor, this.#board(), false).build(generation, signal);
      if (signal.aborted) return;
    }
    await dropReplaced(state, processor.name);
    await this.#inline.catchUp(processor, signal);
  }

  /** Follows the log with one processor, and again whenever it is resumed after an error while others go on. */
  async #keepFollowing(
    processor: Processor<Unit>,
    { runners, board, stopped }: Following<Unit>,
    signal: AbortSignal,
  ): Promise<void> {
    const waiting = AbortSignal.any([signal, stopped.over]);
    for (;;) {
      const runner = this.#runner(processor, board, true);
      runners.set(processor, runner);
      const failure = await this.#failureOf(processor, () => this.#follow(runner, signal), signal);
      if (!failure) return stopped.end();
      // Others take its share meanwhile.
      runners.delete(processor);
      stopped.stop(processor.name, failure.error);
      if (!(await this.#isResumed(processor, runner.resumes, board, waiting))) return;
      stopped.resume(processor.name);
      this.#context.logger.info(`"${processor.name}" is resumed`);
    }
  }

  async #follow(runner: ProcessorRunner<Unit>, signal: AbortSignal): Promise<void> {
    if (runner.processor.mode === 'inline') return this.#followInline(runner.processor, signal);
    await runner.run('follow', signal);
  }

  /** Waits until a processor was told to go on more often than `before`; false if the signal aborts first. */
  async #isResumed(
    { name }: Processor<Unit>,
    before: number | undefined,
    board: Board,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { clock, control } = this.#context;
    const everyMs = lookEveryMs(this.#options.leaseMs);
    let known = before;
    let woken = known === undefined;
    while (!signal.aborted) {
      // Those that run say so when the store is out of reach.
      const { resumes } = await board.look(woken ? 0 : everyMs).catch(() => ({ resumes: undefined }));
      const times = resumes && (resumes.get(name) ?? 0);
      known ??= times;
      if (times !== undefined && known !== undefined && times > known) return true;
      woken = await control.wait(everyMs, clock, signal);
    }
    return false;
  }

  /** Appends keep an inline projection; the worker sees to events that were appended without it. */
  async #followInline(processor: Processor<Unit>, signal: AbortSignal): Promise<void> {
    const { log } = this.#context;
    while (!signal.aborted) {
      const head = await log.head();
      await this.prepareInline(processor, signal);
      await log.changes(head, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  async #bring(processor: Processor<Unit>, board: Board, head: number, signal: AbortSignal): Promise<void> {
    if (processor.mode === 'inline') return this.prepareInline(processor, signal);
    await this.#runner(processor, board, false).run({ to: head }, signal);
  }

  async #fireTimers(by: number): Promise<boolean> {
    const options = { holder: this.name, leaseMs: this.#options.leaseMs, by };
    const { state } = this.#context;
    const fired = await Promise.all(this.#processors.map((one) => fireDueTimers(one, state, options)));
    return fired.includes(true);
  }

  #board(): Board {
    return new Board(this.#context.state, this.#context.clock);
  }

  #runner(processor: Processor<Unit>, board: Board, shares: boolean): ProcessorRunner<Unit> {
    const options: RunnerOptions = {
      ...this.#options,
      holder: this.name,
      leases: this.#leases,
      checkpoints: this.#checkpoints,
      board,
      shares,
    };
    return new ProcessorRunner(processor, this.#context, options);
  }

  /** Runs every processor to its own end; says at once when one stops, and throws when all have ended. */
  async #all(work: (processor: Processor<Unit>) => Promise<void>, signal: AbortSignal): Promise<void> {
    const ends = await Promise.all(
      this.#processors.map((one) => this.#failureOf(one, () => work(one), signal)),
    );
    throwAll(ends.flatMap((end) => (end ? [end.error] : [])));
  }

  /** What a processor stopped at, which is logged at once; undefined if it has come to its end. */
  async #failureOf(
    { name }: Processor<Unit>,
    work: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<{ readonly error: unknown } | undefined> {
    try {
      await untilAvailable(`processor "${name}"`, work, this.#context, signal);
      return undefined;
    } catch (error) {
      // It was told to end while the store was out of reach: that is no reason to fail.
      if (signal.aborted && isTransient(error)) return undefined;
      this.#context.logger.error(messageOf(error));
      return { error };
    }
  }
}

/** What the processors of one run share. */
interface Following<Unit extends StateUnit> {
  readonly runners: Map<Processor<Unit>, ProcessorRunner<Unit>>;
  readonly board: Board;
  readonly stopped: StoppedProcessors;
}

function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, `${errors.length} processors stopped`);
}

/** A signal that aborts with the one given, and that any number of processors may listen to. */
function forMany(given: AbortSignal | undefined): AbortSignal {
  const signal = AbortSignal.any(given ? [given] : []);
  setMaxListeners(0, signal);
  return signal;
}
