import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger, type StateUnit, type Store } from '@refold/core';
import type { Actor } from './chaos-actor.js';
import { Crew } from './chaos-crew.js';
import type { ProcessorName } from './chaos-domain.js';
import { heal, patiently } from './chaos-heal.js';
import { hasLogged } from './chaos-log.js';
import type { Answer, Steering } from './chaos-orders.js';
import { planChaos, type Action } from './chaos-plan.js';
import { ChaosStatistics, describeAction } from './chaos-statistics.js';
import { chaosApplication, type ChaosTarget } from './chaos-target.js';
import { verifyChaos } from './chaos-verify.js';
import { ChaosWatch } from './chaos-watch.js';
import { CrashTestError } from './crash-run.js';

export interface ChaosOptions {
  /** Fixes what happens when; not what the scheduler makes of it. */
  readonly seed: number;
  /** How long each round lasts before everything is brought to rest. */
  readonly roundMs: number;
  /** Called after every round with what it was. */
  readonly onRound?: (line: string) => void;
}

/**
 * Lets workers and writers run on one store while they are killed, frozen and steered, and the database is disturbed; then
 * brings everything to rest, and verifies all of it. Every round has a store of its own.
 */
export class ChaosRun<Unit extends StateUnit = StateUnit> {
  readonly statistics = new ChaosStatistics();
  readonly #target: ChaosTarget<Unit>;
  readonly #options: ChaosOptions;
  #round: Round<Unit> | undefined;

  constructor(target: ChaosTarget<Unit>, options: ChaosOptions) {
    this.#target = target;
    this.#options = options;
  }

  /** Runs the next round. @throws CrashTestError with what was wrong */
  async round(): Promise<void> {
    const { seed, roundMs, onRound } = this.#options;
    const number = this.statistics.rounds;
    await this.#clean();
    const round = await Round.begin(this.#target, seed, this.statistics);
    this.#round = round;
    const { disturbances } = this.#target;
    const problems = await round.run(planChaos(seed, number, { ms: roundMs, disturbances }));
    if (problems.length > 0) throw new CrashTestError(seed, number, problems);
    this.statistics.rounds += 1;
    onRound?.(`round ${number}: ${this.statistics.events} events so far`);
  }

  /** What was planned for the present round, and when it was done, for whoever looks into a failure. */
  get schedule(): string {
    return this.#round?.schedule.join('\n') ?? '';
  }

  /** Where the store, the journals and the logs of the present round are. */
  get whereabouts(): string {
    return this.#round ? `${this.#round.place} and ${this.#round.folder}` : 'nowhere';
  }

  /** Ends what still runs and removes what was made. */
  async close(): Promise<void> {
    await this.#clean();
    await this.#target.close();
  }

  /** Ends the processes of the round, and leaves the rest for inspection. */
  async leave(): Promise<void> {
    await this.#round?.end();
  }

  async #clean(): Promise<void> {
    await this.#round?.clean();
    this.#round = undefined;
  }
}

class Round<Unit extends StateUnit> {
  readonly schedule: string[] = [];
  readonly #problems: string[] = [];
  readonly #crew: Crew;
  readonly #running = new Set<Promise<void>>();
  readonly #pausing = new Set<ProcessorName>();
  readonly #watch: ChaosWatch;
  #deaths = 0;
  #disturbances = 0;

  private constructor(
    readonly place: string,
    readonly folder: string,
    private readonly target: ChaosTarget<Unit>,
    private readonly store: Store<Unit>,
    private readonly statistics: ChaosStatistics,
    reached: string,
    seed: number,
  ) {
    this.#crew = new Crew({
      orders: { target: target.name, place: reached, folder, seed },
      onDeath: () => {
        this.#deaths += 1;
        this.statistics.poisoned += 1;
      },
      onProblem: (problem) => this.#problems.push(problem),
    });
    this.#watch = new ChaosWatch(store, (problem) => this.#problems.push(problem));
  }

  static async begin<Unit extends StateUnit>(
    target: ChaosTarget<Unit>,
    seed: number,
    statistics: ChaosStatistics,
  ): Promise<Round<Unit>> {
    const place = await target.create();
    const folder = await mkdtemp(join(tmpdir(), 'refold-chaos-'));
    const store = await target.open(place);
    await target.prepareEffects(place);
    return new Round(place, folder, target, store, statistics, await target.reached(place), seed);
  }

  /** Does what is planned, brings everything to rest, and returns what is wrong then. */
  async run(actions: readonly Action[]): Promise<readonly string[]> {
    const begun = performance.now();
    for (const action of actions) {
      await sleep(Math.max(0, action.at - (performance.now() - begun)));
      this.schedule.push(describeAction(action));
      this.#spawn(action);
      if (this.#problems.length > 0) return this.#problems;
    }
    await this.#rest();
    if (this.#problems.length > 0) return this.#problems;
    const findings = await verifyChaos(this.target, this.store, {
      place: this.place,
      folder: this.folder,
      interruptions: this.#deaths + this.#disturbances,
      frozen: new Set(this.#crew.everyone.filter((one) => one.wasFrozen).map(({ life }) => life)),
    });
    const { statistics } = this;
    for (const what of ['events', 'appends', 'discarded', 'repeated', 'lost'] as const) {
      statistics[what] += findings[what];
    }
    return findings.problems;
  }

  async end(): Promise<void> {
    await this.#crew.end();
    await this.#watch.end();
    await this.store.close();
  }

  async clean(): Promise<void> {
    await this.end();
    await this.target.remove(this.place);
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Heals, and lets everyone go. */
  async #rest(): Promise<void> {
    const app = chaosApplication(this.target, this.store, this.#crew.version, {
      life: 0,
      logger: silentLogger,
      strike: () => {},
      outside: () => {},
    });
    this.#problems.push(...(await heal(app, this.#crew, this.folder)));
    await Promise.all(this.#running);
    this.#crew.dismiss('worker');
    await Promise.all(this.#crew.alive('worker').map((worker) => this.#crew.drain(worker)));
    const workers = await patiently(() => this.store.workers());
    for (const { asked, life } of this.#crew.everyone) {
      const name = `worker-${life}`;
      if (!asked || !workers.some((one) => one.name === name)) continue;
      if (hasLogged(this.folder, `${life}-worker`, 'is forgotten when its time is up')) continue;
      this.#problems.push(`${name} has ended, and is still among the workers`);
    }
  }

  /** Begins an action; what takes long goes on beside the next ones. */
  #spawn(action: Action): void {
    const running = this.#act(action).catch((error: unknown) => {
      this.#problems.push(`${action.kind}: ${error instanceof Error ? error.stack : String(error)}`);
    });
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  async #act(action: Action): Promise<void> {
    const crew = this.#crew;
    switch (action.kind) {
      case 'raise':
        this.statistics.count('raise');
        crew.version += 1;
        return;
      case 'disturb':
        this.statistics.count(action.what);
        this.#disturbances += 1;
        return this.target.disturb(this.place, action.what);
      case 'drain':
        return this.#drain(crew.one('worker', action.number));
      case 'steer': {
        const outcome = await this.#steer(action.steering, crew.one('worker', action.number));
        const { what } = action.steering;
        return this.statistics.count(outcome === 'done' ? what : `${what} (${outcome})`);
      }
      case 'kill':
      case 'freeze':
        return this.#harm(action, crew.one(action.role, action.number));
    }
  }

  /** Resolves with what became of it. */
  async #steer(steering: Steering, actor: Actor | undefined): Promise<string> {
    const { what, processor } = steering;
    if (!actor) return 'nobody there';
    if (what === 'reset') this.#watch.ignore(processor);
    if (what !== 'pause' && what !== 'resume') return this.#told(await actor.steer(steering));
    // One pause at a time, so that what it promises can be held against it.
    if (this.#pausing.has(processor)) return 'paused by another';
    this.#pausing.add(processor);
    const answer = await actor.steer(steering);
    this.#pausing.delete(processor);
    return this.#told(answer);
  }

  #told({ outcome, problem }: Answer): string {
    if (problem) this.#problems.push(problem);
    return outcome;
  }

  async #harm(action: Extract<Action, { kind: 'kill' | 'freeze' }>, actor: Actor | undefined): Promise<void> {
    if (!actor) return;
    this.statistics.count(`${action.kind} ${action.role}`);
    if (action.kind === 'freeze') return actor.freeze(action.ms);
    this.#deaths += 1;
    await this.#crew.kill(actor);
  }

  /** A worker that has ended as it was asked to holds nothing any more. */
  async #drain(actor: Actor | undefined): Promise<void> {
    if (!actor) return;
    this.statistics.count('drain worker');
    if (!(await this.#crew.drain(actor))) return;
    const name = `worker-${actor.life}`;
    const held = (await patiently(() => this.store.partitions())).filter(({ holder }) => holder === name);
    const partitions = held.map(({ processor, firstSlice }) => `${processor}/${firstSlice}`);
    // One that cannot reach the database leaves to their time the leases that it has, or does not know that it was given.
    const log = `${actor.life}-worker`;
    const wasAway = ['could not be reached', 'expires by itself'].some((words) =>
      hasLogged(this.folder, log, words),
    );
    if (held.length === 0 || wasAway) return;
    this.#problems.push(`${name} has ended, and still holds ${partitions.join(', ')}`);
  }
}
