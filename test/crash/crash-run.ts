import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StateUnit } from '@refold/core';
import { Journal, readJournals, settle, type Intent } from './journal.js';
import { batchesBegun } from './marks.js';
import type { Orders, WorkerOrders, WriterOrders } from './orders.js';
import { planRound, type Moment, type RoundPlan } from './plan.js';
import { Random } from './random.js';
import { Statistics } from './statistics.js';
import { Tail } from './tail.js';
import type { CrashTarget } from './target.js';
import { verifyLog, verifyRepeats } from './verify-log.js';
import { verifyReadModels } from './verify-read-models.js';
import { Victim } from './victim.js';

export interface CrashRunOptions {
  /** Fixes who is killed when, and what the callers do; not what the scheduler makes of it. */
  readonly seed: number;
  /** Called after every round with what it was. */
  readonly onRound?: (line: string) => void;
}

/** How many processes follow the log in every round. */
const TAILS = 2;

/** How long nothing happens between two disturbances, at most. */
const CALM_MS = 700;

/** So many rounds use the same store before the next one begins with an empty one. */
const ROUNDS_A_STORE = 10;

/**
 * Kills processes that write to stores of one target, round after round, and verifies after each round. What is proved is
 * that a crash of the process loses nothing. A power loss is not simulated: what the system had not yet written to the
 * disk survives a kill.
 */
export class CrashRun<Unit extends StateUnit = StateUnit> {
  readonly statistics = new Statistics();
  readonly #target: CrashTarget<Unit>;
  readonly #options: CrashRunOptions;
  readonly #victims = new Set<Victim | Tail>();
  #site: Site | undefined;
  #lives = 0;

  constructor(target: CrashTarget<Unit>, options: CrashRunOptions) {
    this.#target = target;
    this.#options = options;
  }

  /**
   * Runs the next round. @throws CrashTestError with what was wrong after it; Error if a process ended by itself
   */
  async round(): Promise<void> {
    const { seed, onRound } = this.#options;
    const number = this.statistics.rounds;
    const plan = planRound(seed, number, this.#target.mostWriters);
    if (this.#site && number % ROUNDS_A_STORE === 0) await this.#leaveSite();
    const site = (this.#site ??= await this.#newSite());
    site.version += plan.raise;
    await this.#killAll(site, plan, number);
    await this.#verify(site);
    this.statistics.rounds += 1;
    onRound?.(`round ${number}: ${describe(plan)}; ${site.known.length} events`);
  }

  /** Settles what the last round left open, and verifies once more. @throws like `round` */
  async finish(): Promise<void> {
    if (this.#site) await this.#leaveSite();
  }

  /** Kills what still runs and removes what was made. */
  async clean(): Promise<void> {
    await Promise.all([...this.#victims].map((victim) => victim.kill()));
    if (!this.#site) return;
    await this.#target.remove(this.#site.place);
    await rm(this.#site.folder, { recursive: true, force: true });
    this.#site = undefined;
  }

  /** Where the store and the journals of the present round are. */
  get whereabouts(): string {
    return this.#site ? `${this.#site.place} and ${this.#site.folder}` : 'nowhere';
  }

  async #newSite(): Promise<Site> {
    this.statistics.stores += 1;
    return new Site(await this.#target.create(), await mkdtemp(join(tmpdir(), 'refold-crash-journals-')));
  }

  async #leaveSite(): Promise<void> {
    const site = this.#site;
    if (!site) return;
    const file = site.newFile('settled');
    const journal = new Journal(file, ++this.#lives);
    await using store = await this.#target.open(site.place);
    await settle(store, site.journals, journal);
    journal.close();
    site.journals.push(file);
    const { landed, vanished } = await this.#verify(site);
    const open = [...landed, ...vanished];
    if (open.length > 0) this.#fail([`appends ${open.join(', ')} are still open after they were settled`]);
    this.statistics.events += site.known.length;
    await this.clean();
  }

  async #killAll(site: Site, plan: RoundPlan, round: number): Promise<void> {
    const earlier = [...site.journals];
    const tails = Array.from({ length: TAILS }, () => this.#tail(site));
    const killed = new AbortController();
    const disturbed = this.#disturb(site, round, killed.signal);
    const writers = plan.writers.map((moments) => this.#killWriters(site, moments, earlier));
    const results = await Promise.allSettled([...writers, this.#killWorkers(site, plan)]);
    killed.abort();
    await disturbed;
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    await this.#target.settled?.(site.place);
    await this.#finishTails(site, tails);
  }

  #tail(site: Site): Tail {
    const tail = new Tail(this.#orders(site, 'reader', { kind: 'opening', afterMs: 0 }));
    this.#victims.add(tail);
    return tail;
  }

  /** Every reader must come to the head, without a gap on its way. */
  async #finishTails(site: Site, tails: readonly Tail[]): Promise<void> {
    await using store = await this.#target.open(site.place);
    const head = await store.head();
    for (const tail of tails) {
      const read = await tail.finish(head).catch((error: unknown) => this.#fail([String(error)]));
      this.#victims.delete(tail);
      this.statistics.eventsFollowed += read;
    }
  }

  /** Goes on until all are killed. */
  async #disturb({ place }: Site, round: number, signal: AbortSignal): Promise<void> {
    const random = new Random(this.#options.seed, round, 0x7fffffff);
    while (this.#target.disturb && !signal.aborted) {
      await sleep(random.between(0, CALM_MS), undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      const { connections, crashes } = await this.#target.disturb(place, random);
      this.statistics.connectionsCut += connections;
      this.statistics.databaseCrashes += crashes;
    }
  }

  async #killWriters(site: Site, moments: readonly Moment[], earlier: readonly string[]): Promise<void> {
    const own: string[] = [];
    for (const moment of moments) {
      const orders = this.#orders(site, 'writer', moment);
      await this.#kill('writer', { ...orders, earlier: [...earlier, ...own] }, moment);
      own.push(orders.file);
      site.journals.push(orders.file);
      this.statistics.writersKilled += 1;
      // The journal of one life: what it began itself, and it alone could have ended.
      if (openIn(readJournals([orders.file])).length > 0) this.statistics.writersInFlight += 1;
    }
  }

  async #killWorkers(site: Site, { worker, rebuild }: RoundPlan): Promise<void> {
    let rebuilding = rebuild;
    for (const moment of worker) {
      const orders = this.#orders(site, 'worker', moment);
      await this.#kill('worker', { ...orders, rebuild: rebuilding }, moment);
      if (moment.kind !== 'opening') rebuilding = undefined;
      this.statistics.workersKilled += 1;
      if (batchesBegun(orders.file).length > 0) this.statistics.workersMidBatch += 1;
    }
  }

  async #kill(role: 'writer' | 'worker', orders: WriterOrders | WorkerOrders, moment: Moment): Promise<void> {
    const victim = Victim.start(role, orders);
    this.#victims.add(victim);
    await victim.killAt(moment);
    this.#victims.delete(victim);
  }

  #orders(site: Site, role: 'writer' | 'worker' | 'reader', moment: Moment): Orders {
    return {
      target: this.#target.name,
      place: site.place,
      seed: this.#options.seed,
      life: ++this.#lives,
      version: site.version,
      file: site.newFile(role),
      dieAtEvent: moment.kind === 'handler' ? moment.events : undefined,
      dieAtCommit: moment.kind === 'committed' ? moment.steps : undefined,
    };
  }

  /** What nobody was told of is returned: the next writers settle it. */
  async #verify(site: Site): Promise<{ landed: readonly string[]; vanished: readonly string[] }> {
    const { place, version, journals } = site;
    const intents = readJournals(journals);
    const store = await this.#target.open(place);
    try {
      const log = await verifyLog(store, intents, site.known);
      const models = await verifyReadModels(this.#target, place, store, version, log);
      const repeats = await verifyRepeats(store, intents);
      const damage = await this.#target.damage(place);
      const problems = [...log.problems, ...models.problems, ...repeats, ...damage];
      if (problems.length > 0) this.#fail(problems);
      site.known = log.events.map(({ id }) => id);
      this.#count(site, log, models.interruptedBuilds);
      return log;
    } finally {
      await store.close();
    }
  }

  #count(site: Site, log: Awaited<ReturnType<typeof verifyLog>>, interruptedBuilds: number): void {
    const { statistics } = this;
    statistics.acknowledged += log.acknowledged - site.acknowledged;
    statistics.refused += log.refused - site.refused;
    site.acknowledged = log.acknowledged;
    site.refused = log.refused;
    statistics.landed += log.landed.filter((intent) => !site.open.has(intent)).length;
    statistics.vanished += log.vanished.filter((intent) => !site.open.has(intent)).length;
    site.open = new Set([...log.landed, ...log.vanished]);
    statistics.interruptedBuilds += interruptedBuilds;
  }

  #fail(problems: readonly string[]): never {
    throw new CrashTestError(this.#options.seed, this.statistics.rounds, problems);
  }
}

/** Something was wrong after a round. */
export class CrashTestError extends Error {
  constructor(
    readonly seed: number,
    readonly round: number,
    readonly problems: readonly string[],
  ) {
    const shown = problems.slice(0, 20).map((problem) => `  ${problem}`);
    super(`seed ${seed}, round ${round}: ${problems.length} problems\n${shown.join('\n')}`);
  }
}

/** One store, the journals of those who wrote to it, and what the last look found. */
class Site {
  version = 1;
  readonly journals: string[] = [];
  /** The ids of the log's events, in order. */
  known: readonly string[] = [];
  open: ReadonlySet<string> = new Set();
  acknowledged = 0;
  refused = 0;
  #files = 0;

  constructor(
    readonly place: string,
    readonly folder: string,
  ) {}

  newFile(role: string): string {
    return join(this.folder, `${++this.#files}-${role}.jsonl`);
  }
}

function openIn(intents: ReadonlyMap<string, Intent>): Intent[] {
  return [...intents.values()].filter(({ outcomes }) => outcomes.length === 0);
}

function describe({ raise, rebuild, writers, worker }: RoundPlan): string {
  const kinds = (moments: readonly Moment[]): string => moments.map(({ kind }) => kind).join(', ');
  const extra = raise ? ', versions raised' : rebuild ? `, ${rebuild} rebuilt` : '';
  return `writers killed at ${writers.map(kinds).join(' and ')}; workers at ${kinds(worker)}${extra}`;
}
