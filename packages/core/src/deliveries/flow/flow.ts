import type { Clock } from '../../clock.js';
import type { ErrorKind } from '../../processors/error-policy.js';
import type { Processor } from '../../processors/processor.js';
import { Wakeup } from '../../processors/wakeup.js';
import type { RecordedEvent } from '../../store/event-store.js';
import type { FlowSettings } from './flow-settings.js';
import { Meter } from './meter.js';
import { TokenBucket } from './token-bucket.js';

/** The longest that a delivery waits for others of a higher priority before a batch. */
const LONGEST_TURN_MS = 1000;

/** What this process has done for one processor since the application was created. */
export interface FlowMetrics {
  /** Events that were handled. */
  readonly events: number;
  /** A second, over the last ten. */
  readonly eventsPerSecond: number;
  /** Messages that were accepted; 0 for processors that send none. */
  readonly messages: number;
  /** A second, over the last ten. */
  readonly messagesPerSecond: number;
  /** Commits that handled events. */
  readonly batches: number;
  /** `events / batches`; 0 before the first. */
  readonly eventsPerBatch: number;
  /** Events in hand now. */
  readonly inFlight: number;
  /** Attempts that found the subscriber, or something else that passes by itself, out of reach. */
  readonly unavailable: number;
  /** Attempts that failed for the event's own sake. */
  readonly rejected: number;
  /** Attempts that were not the first. */
  readonly retries: number;
  /** Events that became dead letters since their attempts were used up. */
  readonly parked: number;
  /** Events that were left out since their attempts were used up, by `onError: 'skip'`. */
  readonly skipped: number;
  /** Messages that were left out for a newer one of their key. */
  readonly coalesced: number;
  /** Events that were left out since they were too old. */
  readonly expired: number;
}

/** How the events of one processor flow in this process, over all of its partitions here. */
export class Flow {
  readonly priority: number;
  readonly #clock: Clock;
  readonly #others: Flows;
  readonly #maxInFlight: number;
  readonly #bucket: TokenBucket | undefined;
  readonly #expireAfterMs: number;
  readonly #busy = new Set<object>();
  readonly #freed = new Wakeup();
  readonly #events: Meter;
  readonly #messages: Meter;
  readonly #counts = {
    ...{ batches: 0, unavailable: 0, rejected: 0, retries: 0 },
    ...{ parked: 0, skipped: 0, coalesced: 0, expired: 0 },
  };
  #inFlight = 0;

  constructor(settings: FlowSettings | undefined, clock: Clock, others: Flows) {
    const { priority = 0, maxInFlight = Infinity, rate, expireAfterMs = Infinity } = settings ?? {};
    this.priority = priority;
    this.#clock = clock;
    this.#others = others;
    this.#maxInFlight = maxInFlight;
    this.#bucket = rate && new TokenBucket(rate, clock);
    this.#expireAfterMs = expireAfterMs;
    this.#events = new Meter(clock);
    this.#messages = new Meter(clock);
  }

  /** Whether a partition has something to do. */
  get isBusy(): boolean {
    return this.#busy.size > 0;
  }

  /** A partition has something to do. */
  busy(lane: object): void {
    this.#busy.add(lane);
  }

  /** A partition has nothing to do, or waits for its subscriber. */
  idle(lane: object): void {
    if (this.#busy.delete(lane) && this.#busy.size === 0) this.#others.freed.wake();
  }

  /**
   * Waits until events may go: for its turn, for fewer to be in hand, and for its rate. Says how many may, up to `wanted`; 0
   * if the signal aborts. Give them back with `end`.
   */
  async begin(lane: object, wanted: number, signal: AbortSignal): Promise<number> {
    await this.#others.turn(this.priority, LONGEST_TURN_MS, signal);
    while (this.#inFlight >= this.#maxInFlight && !signal.aborted) {
      await this.#freed.wait(LONGEST_TURN_MS, this.#clock, signal);
    }
    if (signal.aborted) return 0;
    const room = Math.min(wanted, this.#maxInFlight - this.#inFlight);
    this.#inFlight += room;
    const granted = this.#bucket ? await this.#atRate(this.#bucket, lane, room, signal) : room;
    this.end(room - granted);
    return granted;
  }

  /** Who waits for its own rate holds nobody up. */
  async #atRate(bucket: TokenBucket, lane: object, wanted: number, signal: AbortSignal): Promise<number> {
    if (!bucket.hasSome) this.idle(lane);
    const granted = await bucket.take(wanted, signal);
    if (granted > 0) this.busy(lane);
    return granted;
  }

  /** So many events are no longer in hand. */
  end(count: number): void {
    if (count === 0) return;
    this.#inFlight -= count;
    this.#freed.wake();
  }

  /** Whether an event is too old to be delivered. */
  expires({ recordedAt }: RecordedEvent): boolean {
    return this.#expireAfterMs !== Infinity && this.#clock.now() - recordedAt.getTime() > this.#expireAfterMs;
  }

  /** Events were handled and committed. */
  committed(events: number): void {
    if (events === 0) return;
    this.#events.add(events);
    this.#counts.batches += 1;
  }

  /** Messages were accepted. */
  sent(messages: number): void {
    if (messages > 0) this.#messages.add(messages);
  }

  /** An attempt has failed. */
  failed(kind: ErrorKind): void {
    this.#counts[kind === 'transient' ? 'unavailable' : 'rejected'] += 1;
  }

  count(what: 'retries' | 'parked' | 'skipped' | 'coalesced' | 'expired', by = 1): void {
    this.#counts[what] += by;
  }

  metrics(): FlowMetrics {
    const { batches } = this.#counts;
    const { all: events, perSecond: eventsPerSecond } = this.#events;
    const { all: messages, perSecond: messagesPerSecond } = this.#messages;
    return {
      ...{ events, eventsPerSecond, messages, messagesPerSecond },
      eventsPerBatch: batches === 0 ? 0 : events / batches,
      inFlight: this.#inFlight,
      ...this.#counts,
    };
  }
}

/** The flows of an application's processors in this process. */
export class Flows {
  /** Wakes those who wait for their turn. */
  readonly freed = new Wakeup();
  readonly #clock: Clock;
  readonly #flows = new Map<string, Flow>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of({ name, flow }: Pick<Processor, 'name' | 'flow'>): Flow {
    const known = this.#flows.get(name);
    if (known) return known;
    const made = new Flow(flow, this.#clock, this);
    this.#flows.set(name, made);
    return made;
  }

  /** Waits until those of a higher priority have nothing to do, but no longer than `ms`. */
  async turn(priority: number, ms: number, signal: AbortSignal): Promise<void> {
    const end = this.#clock.now() + ms;
    while (this.#isHeld(priority) && !signal.aborted) {
      const left = end - this.#clock.now();
      if (left <= 0) return;
      await this.freed.wait(left, this.#clock, signal);
    }
  }

  #isHeld(priority: number): boolean {
    for (const flow of this.#flows.values()) if (flow.priority > priority && flow.isBusy) return true;
    return false;
  }
}
