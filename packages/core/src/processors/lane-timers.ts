import type { StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './context.js';
import { dueOf, type FireTimers } from './due-timers.js';
import type { Feed } from './feed.js';
import type { LaneWriter } from './lane-writer.js';

/** The longest sleep: a clock that was set forward, or a machine that slept, is noticed by then. */
const LONGEST_SLEEP_MS = 60_000;

/** What one partition needs to fire its timers. */
export interface TimersParts<Unit extends StateUnit> {
  readonly context: ProcessorContext<Unit>;
  readonly writer: LaneWriter<Unit>;
  readonly feed: Feed<Unit>;
  readonly fire: FireTimers<Unit>;
}

/**
 * The timers of one partition that follows the log under one lease. Whoever holds the lease sets, removes and fires them,
 * each in one transaction with its effects; whoever holds it next finds those that are left.
 */
export class LaneTimers<Unit extends StateUnit> {
  readonly #parts: TimersParts<Unit>;
  /** Whether timers may have been set or removed since they were looked at. */
  #stale = true;
  #nextAt: number | undefined;
  /** By when those are due that fire next, and up to where events are handled before. */
  #due: { readonly by: number; readonly after: number } | undefined;

  constructor(parts: TimersParts<Unit>) {
    this.#parts = parts;
  }

  /** Timers may have been set or removed. */
  changed(): void {
    this.#stale = true;
  }

  /**
   * Fires the timers that are due, once every event is handled that was in the log when they were found to be: what came
   * in time is not to be overtaken, however late the partition is.
   */
  async fireDue(): Promise<void> {
    const { context, writer } = this.#parts;
    if (this.#stale) await this.#look();
    const now = context.clock.now();
    if (this.#nextAt === undefined || this.#nextAt > now) {
      this.#due = undefined;
      return;
    }
    const { by, after } = (this.#due ??= await this.#found(now));
    if (writer.position < after) return;
    this.#due = undefined;
    await this.#fire(by);
  }

  /** Resolves when the next timer is due; undefined if there is none. */
  wait(signal: AbortSignal): Promise<void> | undefined {
    if (this.#nextAt === undefined) return undefined;
    const { clock } = this.#parts.context;
    const ms = Math.max(0, this.#nextAt - clock.now());
    return clock.sleep(Math.min(ms, LONGEST_SLEEP_MS), signal);
  }

  async #look(): Promise<void> {
    const { context, writer } = this.#parts;
    this.#stale = false;
    const [next] = await context.state.timers(writer.lease, 1);
    this.#nextAt = next?.dueAt.getTime();
  }

  async #found(now: number): Promise<{ readonly by: number; readonly after: number }> {
    const { context, feed } = this.#parts;
    const after = await context.log.head();
    feed.reaches(after);
    return { by: now, after };
  }

  async #fire(by: number): Promise<void> {
    const { context, writer, fire } = this.#parts;
    this.#stale = true;
    const due = await dueOf(writer.lease, context.state, by);
    if (due.length > 0) await writer.within(await fire(due));
  }
}
