import { setImmediate } from 'node:timers/promises';
import { MessageRejectedError, TransportUnavailableError } from '../deliveries/transport-errors.js';
import type { Flow } from '../deliveries/flow/flow.js';
import { messageOf, ProcessorStoppedError } from '../errors.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { DeadLetter, Lease } from '../store/processor-state.js';
import { SLICES } from '../store/slices.js';
import type { StateUnit } from '../store/state-store.js';
import { BatchSize } from './batch-size.js';
import type { Bound } from './bound.js';
import type { ProcessorContext } from './context.js';
import { DeadlyEvents, ProcessDiedError } from './deadly-events.js';
import type { Feed, FeedEvent, FeedPage } from './feed.js';
import { timersOf } from './due-timers.js';
import { handlingOf, type Handling } from './handling.js';
import { isIn } from './in-transaction.js';
import { LaneLetters, type HandleLetter } from './lane-letters.js';
import { LaneTimers } from './lane-timers.js';
import { LaneWriter, type Checkpoints } from './lane-writer.js';
import {
  failedEvent,
  HandlerError,
  isTransactional,
  type HandlingContext,
  type Processor,
  type ProcessorHandler,
} from './processor.js';

/** Checkpoints of partitions that have nothing to do are written down at the latest when they are so far behind. */
const MOST_UNSTORED = 50_000;

/** How often dead letters are looked at for those that are due. */
const LETTERS_MS = 1000;

/** What a partition is worked on with. */
export interface LaneParts<Unit extends StateUnit> {
  readonly processor: Processor<Unit>;
  readonly context: ProcessorContext<Unit>;
  readonly feed: Feed<Unit>;
  readonly checkpoints: Checkpoints;
  readonly bound: Bound;
  readonly batchSize: number;
  /** Whether all that the feed has is the partition's own, whatever its slices are. Default: if it has all slices. */
  readonly whole?: boolean;
  readonly handling: HandlingContext;
  /** Called after every commit with the number of events that were handled. */
  readonly onCommit: (events: number) => void;
  /** How often the processor was told to go on, as far as it is known. */
  readonly resumes?: () => number | undefined;
}

/** What a lane says of itself to whoever looks at the status. */
export interface LaneReport {
  readonly firstSlice: number;
  readonly position: number;
  /** Events that were handled a second since the last report. */
  readonly rate: number;
  /** What it is retrying, and since when. */
  readonly retrying?: {
    readonly message: string;
    readonly position: number;
    readonly attempts: number;
    readonly since: number;
  };
}

/**
 * One partition under one lease: takes its events from the feed, in order, and handles them under the processor's
 * guarantee and error policy, until its bound, its signal or the loss of its lease ends it.
 */
export class Lane<Unit extends StateUnit> {
  readonly writer: LaneWriter<Unit>;
  readonly #parts: LaneParts<Unit>;
  readonly #handler: ProcessorHandler<Unit>;
  readonly #handling: Handling;
  readonly #letters: LaneLetters<Unit>;
  /** Undefined for a processor that sets none, and where the lane does not follow the log. */
  readonly #timers: LaneTimers<Unit> | undefined;
  readonly #flow: Flow | undefined;
  readonly #size: BatchSize;
  readonly #deadly: DeadlyEvents<Unit>;
  #events = 0;
  #reported: { readonly events: number; readonly at: number };
  #retrying: LaneReport['retrying'];
  #lettersAt = 0;
  #resumesBefore: number | undefined;

  constructor(lease: Lease, parts: LaneParts<Unit>) {
    const { processor, context, feed, bound, checkpoints, batchSize } = parts;
    const { state, clock } = context;
    const flow = context.flows?.of(processor);
    const handling = { ...parts.handling, flow };
    this.#flow = flow;
    this.#parts = parts;
    this.writer = new LaneWriter(lease, state, checkpoints);
    this.#handler = processor.handler(lease.generation, lease);
    const committed = (collection: string): ReturnType<typeof state.documentsOf> =>
      state.documentsOf(collection, lease.generation);
    this.#handling = handlingOf(processor.guarantee, this.#handler, {
      writer: this.writer,
      committed,
      context: handling,
    });
    const handle = letterHandling(this.#handler, this.writer, committed, handling);
    this.#letters = new LaneLetters({ processor, context, writer: this.writer, handle });
    // Those of a build wait until it is live, and who only catches up fires them at the end.
    const fire = bound.final ? undefined : timersOf(this.#handler);
    this.#timers = fire && new LaneTimers({ context, writer: this.writer, feed, fire });
    this.#size = new BatchSize(
      clock,
      batchSize,
      isTransactional(this.#handler) ? this.#handler.firstBatch : 1,
    );
    this.#reported = { events: 0, at: clock.now() };
    this.#deadly = new DeadlyEvents(state, this.writer);
  }

  /** How often the processor had been told to go on when the latest attempt began: what is said later is for the next. */
  get resumesBefore(): number | undefined {
    return this.#resumesBefore;
  }

  get report(): LaneReport {
    const { lease, position } = this.writer;
    const now = this.#parts.context.clock.now();
    const rate = (1000 * (this.#events - this.#reported.events)) / Math.max(1, now - this.#reported.at);
    this.#reported = { events: this.#events, at: now };
    return { firstSlice: lease.firstSlice, position, rate, retrying: this.#retrying };
  }

  /**
   * Works until the bound is reached, if it is final, or until the signal aborts. `tookOver` says that the last holder did
   * not give its lease back.
   * @throws LeaseLostError, ProcessorStoppedError, and what the store throws when it is out of reach
   */
  async run(signal: AbortSignal, tookOver = false): Promise<void> {
    this.#deadly.suspect(tookOver);
    const { feed, bound, context } = this.#parts;
    await this.#letters.load();
    feed.reaches(await context.log.head());
    while (!signal.aborted) {
      await this.#retryLetters(signal);
      await this.#timers?.fireDue();
      const page = await this.#nextPage();
      if (page) await this.#handlePage(page, signal);
      else if (bound.final && this.writer.position >= bound.to && !this.#moreLetters) break;
      else await this.#rest(signal);
      // A store may answer without ever waiting: lease renewal, and whoever aborts, need a turn of the event loop.
      await setImmediate();
    }
    await this.writer.store();
  }

  /** Lets the handler give back what it holds. Call it when `run` has ended. */
  async close(): Promise<void> {
    this.#flow?.idle(this);
    if (isTransactional(this.#handler)) return;
    await this.#handler.close?.().catch((error: unknown) => {
      this.#parts.context.logger.warn(
        `a partition of "${this.#parts.processor.name}" ends: ${messageOf(error)}`,
      );
    });
  }

  get #moreLetters(): boolean {
    return this.#letters.any && this.#lettersAt === 0;
  }

  async #nextPage(): Promise<FeedPage | undefined> {
    const { feed, bound } = this.#parts;
    const { position } = this.writer;
    if (position >= bound.to || position >= feed.head) return undefined;
    return feed.next(position, bound.to);
  }

  /** Waits for the log to grow, the bound to move, or letters to be due. */
  async #rest(signal: AbortSignal): Promise<void> {
    const { context, feed, bound } = this.#parts;
    await this.writer.store();
    this.#flow?.idle(this);
    const over = new AbortController();
    const abort = (): void => over.abort();
    signal.addEventListener('abort', abort, { once: true });
    const grown =
      this.writer.position < bound.to
        ? context.log.changes(this.writer.position, over.signal).then((head) => feed.reaches(head))
        : bound.raised(over.signal);
    const waits: Promise<void>[] = [grown];
    if (this.#letters.any) {
      waits.push(
        context.control.wait(LETTERS_MS, context.clock, over.signal).then(() => {
          this.#lettersAt = 0;
        }),
      );
    }
    const due = this.#timers?.wait(over.signal);
    if (due) waits.push(due);
    try {
      if (signal.aborted) return;
      await Promise.race(waits);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      over.abort();
      signal.removeEventListener('abort', abort);
      await Promise.allSettled(waits);
    }
  }

  async #retryLetters(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.context;
    if (!this.#letters.any || clock.now() < this.#lettersAt) return;
    const more = await this.#letters.retryDue(signal);
    this.#timers?.changed();
    this.#lettersAt = more ? 0 : clock.now() + LETTERS_MS;
  }

  /** Handles the partition's part of a page, some events a commit. */
  async #handlePage(page: FeedPage, signal: AbortSignal): Promise<void> {
    const through = Math.min(page.through, this.#parts.bound.to);
    const own = this.#ownOf(page, through);
    if (own.length > 0) this.#flow?.busy(this);
    this.#deadly.handle(through);
    let done = 0;
    while (done < own.length && !signal.aborted) {
      const next = own.slice(done, done + (this.#deadly.isCareful ? 1 : this.#size.size));
      const { batch, end } = await this.#admitted(next, signal);
      if (batch.length === 0) break;
      done += batch.length;
      const to = done === own.length ? through : (batch.at(-1)?.event.position ?? through);
      await this.#size.measure(batch.length, () => this.#handleBatch(batch, to, signal)).finally(end);
      await setImmediate();
    }
    // Whoever is told to stop while it retries an event leaves that to the next.
    if (done < own.length || signal.aborted) return;
    this.writer.passTo(through);
    if (this.writer.unstored > MOST_UNSTORED) await this.writer.store();
  }

  /** As many of the next events as may go now, when they may; none if the signal aborts. */
  async #admitted(
    next: readonly FeedEvent[],
    signal: AbortSignal,
  ): Promise<{ readonly batch: readonly FeedEvent[]; readonly end: () => void }> {
    const flow = this.#flow;
    const { processor } = this.#parts;
    if (!flow || !processor.flow) return { batch: next, end: () => {} };
    const wanted = next.flatMap((one, index) => (wants(processor, one) ? [index] : []));
    if (wanted.length === 0) return { batch: next, end: () => {} };
    const granted = await flow.begin(this, wanted.length, signal);
    return { batch: next.slice(0, granted === 0 ? 0 : wanted[granted]), end: () => flow.end(granted) };
  }

  /** The partition's events of a page. */
  #ownOf(page: FeedPage, through: number): readonly FeedEvent[] {
    const { lease, position, ahead } = this.writer;
    const whole = this.#hasAllSlices && ahead.length === 0;
    if (whole && position <= page.after && through === page.through) return page.events;
    return page.events.filter((one) => {
      if (one.event.position <= position || one.event.position > through) return false;
      if (whole) return true;
      const { slice } = one.sequence;
      return (
        isIn(lease, slice) && !ahead.some((part) => isIn(part, slice) && one.event.position <= part.position)
      );
    });
  }

  get #hasAllSlices(): boolean {
    const { firstSlice, lastSlice } = this.writer.lease;
    return this.#parts.whole ?? (firstSlice === 0 && lastSlice === SLICES - 1);
  }

  /** One commit, unless something fails: then as many as there are failures more. */
  async #handleBatch(batch: readonly FeedEvent[], through: number, signal: AbortSignal): Promise<void> {
    let rest = batch;
    while (rest.length > 0 && !signal.aborted) {
      const failure = await this.#take(rest, through);
      if (!failure) break;
      const index = rest.findIndex(({ event }) => event.position === failure.event.position);
      const failed = rest[index];
      if (!failed) throw failure;
      if (!(await this.#settle(failed, failure, signal))) return;
      rest = rest.slice(index + 1);
      if (rest.length === 0) this.writer.passTo(through);
    }
    this.#retrying = undefined;
  }

  /** Takes the batch up to the first event that cannot even be handled; that is its failure then. */
  async #take(batch: readonly FeedEvent[], through: number): Promise<HandlerError | undefined> {
    this.#resumesBefore = this.#parts.resumes?.();
    const [first] = batch;
    if (this.#deadly.isCareful && first && batch.length === 1) {
      const crashed = await this.#deadly.begin(first.event);
      if (crashed) return crashed;
    }
    const end = batch.findIndex((one) => this.#unhandleable(one) !== undefined);
    const bad = batch[end];
    const part = bad ? batch.slice(0, end) : batch;
    const to = bad ? bad.event.position - 1 : through;
    const failure = part.length > 0 ? await this.#step(part, to) : undefined;
    if (failure || !bad) return failure;
    this.writer.passTo(to);
    return this.#unhandleable(bad);
  }

  async #step(part: readonly FeedEvent[], through: number): Promise<HandlerError | undefined> {
    const before = this.writer.position;
    const events: RecordedEvent[] = [];
    const letters: DeadLetter[] = [];
    const expired: number[] = [];
    for (const one of part) {
      if (this.#letters.any && this.#letters.holds(one.sequence.key)) {
        letters.push(this.#letters.behind(one.event, one.sequence));
      } else if (this.#flow?.expires(one.event)) expired.push(one.event.position);
      else events.push(one.event);
    }
    const failure = await this.#handling.take({ events, letters, through });
    const { position } = this.writer;
    if (position > before) {
      const done = failure ? events.filter((one) => one.position <= position) : events;
      this.#committed(done.length);
      this.#flow?.count('expired', expired.filter((one) => one <= position).length);
    }
    return failure;
  }

  #committed(events: number): void {
    this.#events += events;
    this.#flow?.committed(events);
    this.#timers?.changed();
    this.#parts.context.commits.wake();
    this.#parts.onCommit(events);
  }

  /** Why an event cannot be given to the handler, if it cannot. */
  #unhandleable(one: FeedEvent): HandlerError | undefined {
    if (one.failure) return one.failure;
    // Sequences matter only beside other partitions, and behind letters.
    if (this.#hasAllSlices && !this.#letters.any) return undefined;
    const { failure, key } = one.sequence;
    if (failure ?? key !== undefined) return failure;
    const why = this.#letters.any ? 'while there are dead letters' : 'in one of several partitions';
    return new HandlerError(
      one.event,
      new Error(
        `it belongs to several sequences, which cannot be kept in order ${why}: declare its sequence`,
      ),
    );
  }

  /** Retries an event that failed, or gives it up by the policy; false if the signal ended it before. */
  async #settle(failed: FeedEvent, first: HandlerError, signal: AbortSignal): Promise<boolean> {
    const { errors, guarantee } = this.#parts.processor;
    const { clock } = this.#parts.context;
    // Its checkpoint has moved, and a retry could be the second time: whatever the error is, it is given up.
    const once = guarantee === 'atMostOnce';
    const since = clock.now();
    let failure = first;
    // Attempts that failed for what passes by itself count for the wait alone.
    for (let tries = 1, attempts = 0; ; tries++) {
      const kind =
        once || failure.cause instanceof ProcessDiedError ? 'permanent' : errors.kindOf(failure.cause);
      if (kind !== 'transient') attempts += 1;
      this.#flow?.failed(kind);
      if (kind === 'stop') {
        throw new ProcessorStoppedError(this.#parts.processor.name, failedEvent(failed.event), failure.cause);
      }
      if (kind === 'permanent' || (kind === 'retry' && attempts >= errors.maxAttempts)) {
        await this.#giveUp(failed, failure.cause, attempts);
        return true;
      }
      const { position } = failed.event;
      this.#retrying = { message: messageOf(failure.cause), position, attempts: tries, since };
      // Who waits for its subscriber holds nobody up.
      this.#flow?.idle(this);
      await clock.sleep(Math.max(errors.delayMs(tries), askedDelayMs(failure.cause)), signal);
      if (signal.aborted) return false;
      this.#flow?.busy(this);
      this.#flow?.count('retries');
      const again = await this.#take([failed], position);
      if (!again) return true;
      failure = again;
    }
  }

  async #giveUp({ event, sequence }: FeedEvent, cause: unknown, attempts: number): Promise<void> {
    const { processor, context } = this.#parts;
    const { onError } = processor.errors;
    if (onError === 'stop') throw new ProcessorStoppedError(processor.name, failedEvent(event), cause);
    if (onError === 'park') {
      await this.#letters.park(event, sequence, cause, attempts);
    } else {
      context.logger.error(
        `"${processor.name}" skipped ${event.type} at position ${event.position} (${event.stream} revision ${event.revision}): ` +
          messageOf(cause),
      );
      await this.writer.move(event.position);
    }
    this.#flow?.count(onError === 'park' ? 'parked' : 'skipped');
    this.#committed(0);
  }
}

/** Whether an event is for the handler's own code; one that cannot be told is. */
function wants<Unit extends StateUnit>(
  processor: Pick<Processor<Unit>, 'wants'>,
  { event, failure }: FeedEvent,
): boolean {
  if (failure) return true;
  try {
    return processor.wants?.(event) ?? true;
  } catch {
    return true;
  }
}

/** How long whoever was asked wants to be left alone. */
function askedDelayMs(error: unknown): number {
  const asked = error instanceof TransportUnavailableError || error instanceof MessageRejectedError;
  return (asked && error.retryAfterMs) || 0;
}

/** How a letter is handled by a handler of either kind. */
function letterHandling<Unit extends StateUnit>(
  handler: ProcessorHandler<Unit>,
  writer: LaneWriter<Unit>,
  committed: (collection: string) => ReturnType<ProcessorContext<Unit>['state']['documentsOf']>,
  context: HandlingContext,
): HandleLetter<Unit> {
  return async (event, remove) => {
    if (!isTransactional(handler)) {
      await handler.handle([event], context);
      return writer.within(remove);
    }
    try {
      const effects = await handler.prepare([event], committed, context);
      await writer.within(async (unit) => {
        await remove(unit);
        await effects(unit);
      });
    } catch (error) {
      handler.reset();
      throw error;
    }
  };
}
