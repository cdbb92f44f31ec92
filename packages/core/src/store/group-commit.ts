import { setImmediate } from 'node:timers/promises';

/** What became of one request of a group. */
export type Settled<Outcome> = { readonly value: Outcome } | { readonly error: unknown };

/** How large a group may become. */
export interface GroupCommitOptions<Request> {
  /** How much a request counts towards `maxWeight`; an append counts its events. Default 1. */
  readonly weight?: (request: Request) => number;
  /** A group is closed before it exceeds this, unless its first request does alone. Default 5000. */
  readonly maxWeight?: number;
  /**
   * A request that comes alone starts in the same turn of the event loop, together with those of its turn so far. Only for
   * commits that wait on the event loop themselves: others would let a busy caller keep timers and sockets from their turn.
   * Default false.
   */
  readonly sameTurn?: boolean;
}

interface Waiting<Request, Outcome> {
  readonly request: Request;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Commits requests in groups: while one commit is in flight, those that arrive are collected and committed together
 * next, in their order, each with its own outcome. There is no timer: an idle one starts in the next turn of the event
 * loop, or in the same one.
 * Source: group commit, DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984.
 */
export class GroupCommit<Request, Outcome> {
  readonly #commit: (requests: readonly Request[]) => Promise<readonly Settled<Outcome>[]>;
  readonly #weight: (request: Request) => number;
  readonly #maxWeight: number;
  readonly #sameTurn: boolean;
  /** Whether the last group had one request, and no other came meanwhile: then the next group waits for nobody. */
  #alone = true;
  #waiting: Waiting<Request, Outcome>[] = [];
  #running: Promise<void> | undefined;

  /** `commit` returns one outcome a request, in order; if it rejects, every request of the group does. */
  constructor(
    commit: (requests: readonly Request[]) => Promise<readonly Settled<Outcome>[]>,
    { weight = () => 1, maxWeight = 5000, sameTurn = false }: GroupCommitOptions<Request> = {},
  ) {
    this.#commit = commit;
    this.#weight = weight;
    this.#maxWeight = maxWeight;
    this.#sameTurn = sameTurn;
  }

  submit(request: Request): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing waits and nothing is in flight. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // One turn of the event loop: callers of the same turn, or those that the last commit answered, join this group.
      if (!this.#sameTurn || !this.#alone) await setImmediate();
      else await Promise.resolve();
      await this.#commitGroup(this.#takeGroup());
    }
    this.#running = undefined;
  }

  #takeGroup(): Waiting<Request, Outcome>[] {
    let weight = 0;
    let count = 0;
    for (const { request } of this.#waiting) {
      weight += this.#weight(request);
      if (count > 0 && weight > this.#maxWeight) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #commitGroup(group: readonly Waiting<Request, Outcome>[]): Promise<void> {
    let outcomes: readonly Settled<Outcome>[];
    try {
      outcomes = await this.#commit(group.map(({ request }) => request));
    } catch (error) {
      for (const { reject } of group) reject(error);
      return;
    } finally {
      this.#alone = group.length === 1 && this.#waiting.length === 0;
    }
    group.forEach(({ resolve, reject }, index) => {
      const outcome = outcomes[index];
      if (outcome && 'value' in outcome) resolve(outcome.value);
      else reject(outcome?.error ?? new Error('The commit gave no outcome for this request'));
    });
  }
}
