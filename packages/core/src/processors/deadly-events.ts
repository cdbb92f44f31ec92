import type { RecordedEvent } from '../store/event-store.js';
import type { StateStore, StateUnit } from '../store/state-store.js';
import type { LaneWriter } from './lane-writer.js';
import { HandlerError } from './processor.js';

/** How often an event may have been begun by processes that ended before it was done. */
const MOST_CRASHES = 3;

/** The process ended again and again while an event was handled. */
export class ProcessDiedError extends Error {
  constructor(times: number) {
    super(`The process ended ${times} times while it was handled`);
  }
}

/**
 * Finds the event that ends its process. In a partition whose last holder did not give its lease back, events are handled one
 * by one for a page, and each is noted down before it begins: what was begun too often is the one.
 */
export class DeadlyEvents<Unit extends StateUnit> {
  readonly #state: Pick<StateStore<Unit>, 'beginAttempt'>;
  readonly #writer: LaneWriter<Unit>;
  /** Up to here every event is handled alone. */
  #carefulThrough: number;
  #tookOver = false;
  /** The event that was noted last to have begun. */
  #begun = 0;

  constructor(state: Pick<StateStore<Unit>, 'beginAttempt'>, writer: LaneWriter<Unit>) {
    this.#state = state;
    this.#writer = writer;
    this.#carefulThrough = writer.lease.crashes > 0 ? Infinity : 0;
  }

  /** Says whether the last holder may have died of what comes next. */
  suspect(tookOver: boolean): void {
    this.#tookOver = tookOver;
  }

  /** The first page that is handled is the one that is suspected. */
  handle(through: number): void {
    if (this.#carefulThrough === Infinity) this.#carefulThrough = through;
  }

  /** Whether the next event is to be handled alone. */
  get isCareful(): boolean {
    return this.#writer.position < this.#carefulThrough;
  }

  /** Notes that this process begins with an event; its failure, if too many have ended with it. */
  async begin(event: RecordedEvent): Promise<HandlerError | undefined> {
    // Another try of the same process has shown that it does not die of it.
    if (this.#begun === event.position) return undefined;
    await this.#writer.store();
    const { lease } = this.#writer;
    const begun = await this.#state.beginAttempt(lease, event.position);
    this.#begun = event.position;
    const died = Math.min(begun - 1, lease.crashes);
    return this.#tookOver && died >= MOST_CRASHES
      ? new HandlerError(event, new ProcessDiedError(died))
      : undefined;
  }
}
