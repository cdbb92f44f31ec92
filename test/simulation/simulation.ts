import { ProcessorStoppedError, StoreUnavailableError } from '@refold/core';
import { Random } from '../crash/random.js';
import { give } from './commands.js';
import { settled } from './event-loop.js';
import { Ledger } from './ledger.js';
import { planOf, type Action, type Plan, type PlannedAction } from './plan.js';
import { Program } from './program.js';
import { Scheduler } from './scheduler.js';
import { NO_FAULTS } from './simulated-process.js';
import { Verification } from './verify.js';
import { World } from './world.js';

/** How a run is watched and what of its plan is left out. */
export interface SimulationOptions {
  readonly trace?: boolean;
  /** The actions of the plan that are left out, by their places in it. */
  readonly omit?: ReadonlySet<number>;
}

/** What came of a run. */
export interface Outcome {
  readonly seed: number;
  readonly plan: Plan;
  /** What is not as it must be; empty for a run that is well. */
  readonly violations: readonly string[];
  /** Identifies everything that happened: a run of the same seed has the same. */
  readonly hash: string;
  readonly trace: readonly string[];
  readonly steps: number;
  readonly commits: number;
}

/** How long a healed run may take to come to rest, in simulated time and in steps. */
const REST_WITHIN_MS = 60_000;
const REST_WITHIN_STEPS = 5_000;

/** How often it is looked at. */
const LOOK_MS = 500;

/** At every so manieth look dead letters are retried; sooner, they would never be due for who is behind the time. */
const LOOKS_A_RETRY = 6;

/**
 * Runs the workers, writers and operators of a seed on a store in memory, in simulated time: everything that happens, and
 * its order, is drawn from the seed. Then heals everything, waits for rest, and compares. Runs must not overlap.
 */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<Outcome> {
  const simulation = new Simulation(seed, options);
  const { random } = Math;
  const jitter = new Random(seed, 3);
  const onRejection = (reason: unknown): void => simulation.rejected(reason);
  Math.random = () => jitter.next();
  process.on('unhandledRejection', onRejection);
  try {
    return await simulation.run();
  } finally {
    Math.random = random;
    process.off('unhandledRejection', onRejection);
  }
}

class Simulation {
  readonly #seed: number;
  readonly #plan: Plan;
  readonly #actions: readonly PlannedAction[];
  readonly #scheduler: Scheduler;
  readonly #world: World;
  readonly #ledger: Ledger;
  readonly #verification: Verification;
  #workers: Program[] = [];
  /** Those who give a command, and wait for it to be done. */
  readonly #commands = new Map<Action, Program>();
  /** Those that were started when everything was healed. */
  readonly #fresh = new Set<Program>();
  /** Names that a worker has taken from one that crashed. */
  readonly #renamed = new Set<string>();
  #started = 0;
  #upgraded = false;

  constructor(seed: number, { trace, omit = new Set() }: SimulationOptions) {
    const random = new Random(seed, 2);
    this.#seed = seed;
    this.#plan = planOf(seed);
    this.#actions = this.#plan.actions.filter((_, index) => !omit.has(index));
    this.#scheduler = new Scheduler(random, { trace });
    const resets = this.#actions.flatMap(({ action }) =>
      action.kind === 'command' && action.command === 'reset' ? [action.processor] : [],
    );
    this.#world = new World(this.#scheduler, random, (processor) => resets.includes(processor));
    this.#ledger = new Ledger(seed, this.#world);
    this.#verification = new Verification(seed, this.#world, this.#ledger);
  }

  async run(): Promise<Outcome> {
    this.#world.faults = this.#plan.faults;
    for (let n = 0; n < this.#plan.workers; n++) this.#start(1);
    await this.#disturb();
    await this.#heal();
    if (this.#world.violations.length === 0) await this.#rest();
    const { violations, leases } = this.#world;
    const { hash, trace, steps } = this.#scheduler;
    const { commits } = leases;
    return { seed: this.#seed, plan: this.#plan, violations, hash, trace, steps, commits };
  }

  rejected(reason: unknown): void {
    this.#world.complain(`unhandled rejection: ${reason instanceof Error ? reason.stack : String(reason)}`);
  }

  async #disturb(): Promise<void> {
    const left = [...this.#actions];
    for (let step = 0; step <= this.#plan.steps; step++) {
      for (; left[0] && left[0].at <= step; left.shift()) this.#act(left[0].action);
      await this.#scheduler.step();
    }
  }

  #act(action: Action): void {
    switch (action.kind) {
      case 'append':
        return void this.#append(action);
      case 'start':
        if (this.#workers.length < 5) this.#start(action.version);
        return;
      case 'stop':
        return this.#picked(action.pick)?.stop();
      case 'crash':
        return this.#picked(action.pick)?.process.crash();
      case 'freeze':
        return this.#picked(action.pick)?.process.freeze(action.ms);
      case 'cutOff':
        return this.#picked(action.pick)?.process.cutOff(action.ms);
      case 'command':
        return void this.#command(action);
    }
  }

  #picked(pick: number): Program | undefined {
    this.#workers = this.#workers.filter(({ alive }) => alive);
    return this.#workers[Math.floor(pick * this.#workers.length)];
  }

  /** Half of those that have crashed come again under their old names. */
  #start(version: number): Program {
    const gone = this.#workers.find(({ process }) => process.crashed);
    if (gone) this.#workers.splice(this.#workers.indexOf(gone), 1);
    const name = gone && this.#world.random.chance(0.5) ? gone.process.name : `worker-${++this.#started}`;
    if (name === gone?.process.name) this.#renamed.add(name);
    this.#scheduler.note(`${name} starts with version ${version}`);
    this.#upgraded ||= version > 1;
    const program = this.#program(name, version);
    program.work((error) => this.#ended(program, error));
    this.#workers.push(program);
    return program;
  }

  #ended(program: Program, error: unknown): void {
    const { name } = program.process;
    this.#scheduler.note(`${name} has ended`);
    const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
    for (const one of errors) {
      if (one !== undefined && !(one instanceof ProcessorStoppedError))
        this.#world.complain(`${name} ended with ${describe(one)}`);
      else if (one instanceof ProcessorStoppedError && this.#fresh.has(program))
        this.#world.complain(`${name} stopped in peace: ${one.message}`);
    }
  }

  #program(name: string, version: number): Program {
    return new Program(name, version, {
      seed: this.#seed,
      plan: this.#plan,
      world: this.#world,
      ledger: this.#ledger,
    });
  }

  /** Repeats an append until it knows that it has happened, unless its process ends before. */
  async #append({ stream, events }: Extract<Action, { kind: 'append' }>): Promise<void> {
    const writer = this.#program(`writer-${events[0]?.n}`, 1);
    const appended = events.map(({ type, ...data }) => ({ id: idOf(data.n), type, data }));
    for (;;) {
      try {
        return void (await writer.store.append(stream, appended));
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) return this.#world.complain(describe(error));
        await writer.process.clock.sleep(100);
      }
    }
  }

  async #command(action: Extract<Action, { kind: 'command' }>): Promise<void> {
    const { command, processor, byWorker, pick } = action;
    const version = this.#upgraded ? action.version : 1;
    const program = (byWorker && this.#picked(pick)) || this.#program(`operator-${++this.#started}`, version);
    this.#scheduler.note(`${program.process.name} is told to ${command} ${processor}`);
    this.#commands.set(action, program);
    await give(program, action).catch((error: unknown) =>
      this.#world.complain(`${command} ${processor} failed with ${describe(error)}`),
    );
    this.#scheduler.note(`${program.process.name} is done with ${command} ${processor}`);
    this.#commands.delete(action);
  }

  /** Puts everything right, and starts workers of every version that do not know of what was. */
  async #heal(): Promise<void> {
    this.#scheduler.note('everything is healed');
    this.#world.faults = NO_FAULTS;
    for (const { process } of [...this.#workers, ...this.#commands.values()]) process.heal();
    this.#world.healed = true;
    this.#scheduler.calm = true;
    await this.#resumeAll();
    const busy = (): boolean => [...this.#commands.values()].some(({ process }) => !process.crashed);
    const deadline = this.#scheduler.now + REST_WITHIN_MS;
    const last = this.#scheduler.steps + REST_WITHIN_STEPS;
    while (busy() && this.#scheduler.now < deadline && this.#scheduler.steps < last)
      if (!(await this.#scheduler.step())) break;
    // What has failed before it was healed is told of first.
    await this.#pass(1);
    await this.#resumeAll();
    this.#fresh.add(this.#start(1));
    if (this.#upgraded) this.#fresh.add(this.#start(2));
  }

  async #resumeAll(): Promise<void> {
    for (const { name } of this.#plan.processors) await this.#done(this.#world.store.setPaused(name, false));
  }

  /** Lets things happen until something is done, which may wait for a transaction that is open. */
  async #done(work: Promise<unknown>): Promise<void> {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    work.then(mark, mark);
    await settled();
    for (let steps = 0; !done && steps < REST_WITHIN_STEPS; steps++) await this.#scheduler.step();
    if (!done) return this.#world.complain('a transaction stays open for ever');
    await work;
  }

  async #rest(): Promise<void> {
    const { processors } = this.#plan;
    const unrest = await this.#untilRest();
    if (unrest !== undefined) return this.#world.complain(`it does not come to rest: ${unrest}`);
    if (this.#plan.lingers) await this.#linger();
    const working = this.#workers.filter(({ process, ended }) => !process.crashed && !ended);
    for (const worker of working) worker.stop();
    const deadline = this.#scheduler.now + REST_WITHIN_MS;
    while (working.some(({ ended }) => !ended) && this.#scheduler.now < deadline)
      if (!(await this.#scheduler.step())) break;
    for (const { process, ended } of working)
      if (!ended) this.#world.complain(`${process.name} does not end when it is asked to`);
    for (const spec of processors) await this.#verification.verify(spec, this.#givenBack(working));
  }

  /** The workers who have given all leases back: a call that failed, or a crash, may leave one until it expires. */
  #givenBack(stopped: readonly Program[]): Set<string> {
    const failing = this.#actions.some(({ action }) => action.kind === 'cutOff');
    if (failing || this.#plan.faults !== NO_FAULTS) return new Set();
    const names = stopped.map(({ process }) => process.name);
    return new Set(names.filter((name) => !this.#renamed.has(name)));
  }

  /** When leases of the dead have expired and everybody has looked, partitions stay where they are. */
  async #linger(): Promise<void> {
    await this.#pass(this.#plan.leaseMs + 2000);
    const before = this.#world.leases.grants;
    await this.#pass(1000);
    const moved = this.#world.leases.grants - before;
    if (moved > 0) this.#world.complain(`${moved} leases are taken though all is at rest`);
  }

  /** Lets time pass, and what happens in it. */
  async #pass(ms: number): Promise<void> {
    const until = this.#scheduler.now + ms;
    const last = this.#scheduler.steps + REST_WITHIN_STEPS;
    while (this.#scheduler.now < until && this.#scheduler.steps < last)
      if (!(await this.#scheduler.step())) return;
  }

  async #untilRest(): Promise<string | undefined> {
    const { processors } = this.#plan;
    const deadline = this.#scheduler.now + REST_WITHIN_MS;
    const last = this.#scheduler.steps + REST_WITHIN_STEPS;
    let unrest: string | undefined;
    for (let looks = 0; this.#scheduler.now < deadline && this.#scheduler.steps < last; looks++) {
      await this.#pass(LOOK_MS);
      unrest = undefined;
      for (const spec of processors) unrest ??= await this.#verification.unrest(spec);
      if (unrest === undefined) return undefined;
      if (looks % LOOKS_A_RETRY > 0) continue;
      for (const spec of processors) await this.#done(this.#verification.retryAll(spec));
    }
    return unrest;
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The id of an event, the same for every try. */
function idOf(n: number): string {
  return `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`;
}
