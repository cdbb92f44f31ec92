import { InvalidArgumentError, RefoldError } from '../../errors.js';
import type { ProcessorContext } from '../../processors/context.js';
import type { StateUnit } from '../../store/state-store.js';

/** When appends of this process wait for deliveries. */
export interface HoldAppendsOptions {
  /** Events that a delivery may be behind the head of the log. */
  readonly above: number;
  /** How long an append waits, at most; then it fails. Default 10,000. */
  readonly waitMs?: number;
  /** The names of the deliveries that are waited for. Default: all of the application. */
  readonly deliveries?: readonly string[];
}

/** An append was held back since a delivery is too far behind, and waited in vain. Nothing was appended. */
export class BacklogFullError extends RefoldError {
  readonly code = 'BACKLOG_FULL';

  constructor(
    readonly delivery: string,
    /** Events behind the head of the log. */
    readonly lag: number,
    readonly above: number,
    readonly waitedMs: number,
  ) {
    super(
      `Delivery "${delivery}" is ${lag} events behind the log, more than ${above}, and was so for ${waitedMs} ms: ` +
        'try again later, and see what holds the delivery up',
    );
  }
}

interface Backlog {
  readonly delivery: string;
  readonly lag: number;
}

/** How long a look at the deliveries is good for. */
const FRESH_MS = 200;

/** @internal Holds appends back while a delivery is too far behind. */
export class HeldAppends<Unit extends StateUnit> {
  readonly #names: readonly string[];
  readonly #above: number;
  readonly #waitMs: number;
  readonly #context: ProcessorContext<Unit>;
  #looked: Promise<Backlog | undefined> | undefined;
  #lookedAt = -Infinity;

  constructor(
    { above, waitMs = 10_000, deliveries }: HoldAppendsOptions,
    known: readonly string[],
    context: ProcessorContext<Unit>,
  ) {
    if (!(above >= 0)) throw new InvalidArgumentError('holdAppends.above', above, 'must be 0 or more');
    if (!(waitMs >= 0)) throw new InvalidArgumentError('holdAppends.waitMs', waitMs, 'must be 0 or more');
    const unknown = deliveries?.find((name) => !known.includes(name));
    if (unknown !== undefined) {
      throw new InvalidArgumentError(
        'holdAppends.deliveries',
        unknown,
        'must name deliveries of the application',
      );
    }
    this.#names = deliveries ?? known;
    this.#above = above;
    this.#waitMs = waitMs;
    this.#context = context;
  }

  /** Resolves when an append may go. @throws BacklogFullError */
  async pass(): Promise<void> {
    const { clock, commits } = this.#context;
    const begun = clock.now();
    for (;;) {
      const full = await this.#look();
      if (!full) return;
      const waited = clock.now() - begun;
      if (waited >= this.#waitMs) throw new BacklogFullError(full.delivery, full.lag, this.#above, waited);
      await commits.wait(Math.min(FRESH_MS, this.#waitMs - waited), clock);
    }
  }

  /** The delivery that is too far behind, if one is; all who ask within a moment share one look. */
  #look(): Promise<Backlog | undefined> {
    const now = this.#context.clock.now();
    if (this.#looked && now - this.#lookedAt < FRESH_MS) return this.#looked;
    this.#lookedAt = now;
    const looking = this.#read();
    looking.catch(() => (this.#looked = undefined));
    return (this.#looked = looking);
  }

  async #read(): Promise<Backlog | undefined> {
    const { state, log } = this.#context;
    for (const delivery of this.#names) {
      const [generations, partitions] = await Promise.all([
        state.generations(delivery),
        state.partitions(delivery),
      ]);
      const live = generations.find(({ status }) => status === 'live');
      const own = partitions.filter(({ generation }) => generation === live?.generation);
      // What never ran is not behind: there may be no worker for it yet.
      if (own.length === 0) continue;
      const lag = (await log.head()) - Math.min(...own.map(({ position }) => position));
      if (lag > this.#above) return { delivery, lag };
    }
    return undefined;
  }
}
