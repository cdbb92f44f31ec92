import { Actor, type Role } from './chaos-actor.js';
import type { ChaosOrders } from './chaos-orders.js';
import { Random } from './random.js';

/** How long a process may take to end when it is asked to. */
const END_MS = 20_000;

/** How many of each take part. */
const SIZES: Readonly<Record<Role, number>> = { worker: 3, writer: 2 };

export interface CrewOptions {
  /** Orders but for what is a process's own. */
  readonly orders: Omit<ChaosOrders, 'life' | 'version'>;
  /** Called when a process ended that nobody had killed or asked to. */
  readonly onDeath: (actor: Actor) => void;
  /** Called with what must never be. */
  readonly onProblem: (problem: string) => void;
}

/** The processes of a round: whoever has ended is replaced after a while. */
export class Crew {
  /** The version of the projections in processes that start from now on. */
  version = 1;
  /** All that ever took part. */
  readonly everyone: Actor[] = [];
  readonly #options: CrewOptions;
  readonly #killed = new Set<Actor>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #replacing = new Set<Role>(['worker', 'writer']);

  constructor(options: CrewOptions) {
    this.#options = options;
    this.fill('worker');
    this.fill('writer');
  }

  alive(role: Role): Actor[] {
    return this.everyone.filter((one) => one.role === role && one.isAlive && !one.asked);
  }

  /** One of those that work now. */
  one(role: Role, number: number): Actor | undefined {
    const ready = this.alive(role).filter((one) => one.isReady);
    return ready[number % Math.max(1, ready.length)];
  }

  /** Starts as many as are missing. */
  fill(role: Role): void {
    while (this.alive(role).length < SIZES[role]) this.#start(role);
  }

  async kill(actor: Actor): Promise<void> {
    this.#killed.add(actor);
    await actor.kill();
  }

  /** Asks a process to end and waits until it has: in time, and without an error. False if it was killed meanwhile. */
  async drain(actor: Actor): Promise<boolean> {
    actor.ask();
    const late = setTimeout(() => {
      this.#options.onProblem(
        `${actor.role} ${actor.life} did not end within ${END_MS} ms of being asked to`,
      );
      void this.kill(actor);
    }, END_MS);
    const { code, signal } = await actor.ended;
    clearTimeout(late);
    // One that is asked before it has begun has nothing to finish.
    if (code === 0 || (signal === 'SIGTERM' && !actor.hasBegun)) return true;
    if (signal === 'SIGKILL') return false;
    this.#options.onProblem(`${actor.role} ${actor.life} ended with ${code ?? signal}: ${actor.errors}`);
    return false;
  }

  /** Replaces nobody any more. */
  dismiss(role: Role): void {
    this.#replacing.delete(role);
  }

  /** Replaces whoever ends again. */
  recall(role: Role): void {
    this.#replacing.add(role);
    this.fill(role);
  }

  async end(): Promise<void> {
    this.#replacing.clear();
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.everyone.filter((one) => one.isAlive).map((one) => this.kill(one)));
  }

  #start(role: Role): void {
    const { orders, onDeath, onProblem } = this.#options;
    const life = this.everyone.length + 1;
    const actor = Actor.start(role, { ...orders, life, version: this.version });
    this.everyone.push(actor);
    void actor.ended.then(({ code, signal }) => {
      if (signal === 'SIGKILL' && !this.#killed.has(actor)) onDeath(actor);
      else if (!actor.asked && signal !== 'SIGKILL') {
        onProblem(`${role} ${life} ended by itself with ${code ?? signal}: ${actor.errors}`);
      }
      this.#replace(role, life);
    });
  }

  #replace(role: Role, life: number): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        if (this.#replacing.has(role)) this.fill(role);
      },
      new Random(this.#options.orders.seed, life).between(0, 600),
    );
    this.#timers.add(timer);
  }
}
