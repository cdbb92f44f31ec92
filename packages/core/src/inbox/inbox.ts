import { InvalidArgumentError, messageOf, RevisionConflictError } from '../errors.js';
import { withMetadata } from '../events/correlation.js';
import { consoleLogger, type Logger } from '../logger.js';
import type { InboxState } from '../store/inbox-state.js';
import { checkText } from '../store/prepare-append.js';
import type { StateStore, StateUnit } from '../store/state-store.js';
import { causedByMessage, checkedId, checkedPlace, type InboxMessage } from './inbox-message.js';

/** How an inbox tells repeats, and how long it remembers. */
export interface InboxOptions {
  /**
   * `'id'` (default): a message is a repeat if one with its id and source was received before, in whatever order. It costs a
   * row for each message.
   * `'sequence'`: it is if its sequence is not greater than the greatest one received of its source and key. It costs a row
   * for each key, and needs messages that arrive in the order of their sequences within a key: one that was overtaken is
   * taken for a repeat. After a message that failed, none of its key may be tried before it has succeeded.
   */
  readonly dedupeBy?: 'id' | 'sequence';
  /**
   * How long a message, or the place of a key that no message comes for, is remembered. Must exceed the longest time after
   * which a message may come once more. Default: 7 days by id, for ever (`Infinity`) by sequence.
   */
  readonly retentionMs?: number;
  /**
   * How often the work is done, each time in a transaction of its own, when it fails with RevisionConflictError since somebody
   * else was quicker to change a stream. Default 10.
   */
  readonly maxAttempts?: number;
  /** Default: warnings and errors to the console. */
  readonly logger?: Logger;
}

/** What `once` did: nothing, since the message was received before, or the work. */
export type OnceResult<Result> =
  { readonly duplicate: true } | { readonly duplicate: false; readonly result: Result };

/** What an inbox needs of a store: any state store will do, and an application has one. */
export type InboxStore<Unit extends StateUnit = StateUnit> = Pick<StateStore<Unit>, 'transaction'> &
  InboxState;

/**
 * Makes the effects of messages that arrive at least once happen exactly once: which messages were received is remembered in
 * the transaction that has their effects. Make it with `createInbox`, or with `application.inbox`.
 */
export class Inbox<Unit extends StateUnit = StateUnit> {
  readonly name: string;
  readonly #store: InboxStore<Unit>;
  readonly #dedupeBy: 'id' | 'sequence';
  readonly #retentionMs: number;
  readonly #maxAttempts: number;
  readonly #logger: Logger;
  #received = 0;

  constructor(store: InboxStore<Unit>, name: string, options: InboxOptions = {}) {
    const { dedupeBy = 'id', maxAttempts = 10, logger = consoleLogger } = options;
    const { retentionMs = dedupeBy === 'id' ? SEVEN_DAYS_MS : Infinity } = options;
    checkText('name of the inbox', name, 128);
    if (!['id', 'sequence'].includes(dedupeBy)) {
      throw new InvalidArgumentError('dedupeBy', dedupeBy, "must be 'id' or 'sequence'");
    }
    if (!(retentionMs > 0)) {
      throw new InvalidArgumentError('retentionMs', retentionMs, 'must be more than 0');
    }
    if (!Number.isSafeInteger(maxAttempts) || maxAttempts < 1) {
      throw new InvalidArgumentError('maxAttempts', maxAttempts, 'must be a whole number from 1');
    }
    this.name = name;
    this.#store = store;
    this.#dedupeBy = dedupeBy;
    this.#retentionMs = retentionMs;
    this.#maxAttempts = maxAttempts;
    this.#logger = logger;
  }

  /**
   * Does the work of a message unless it was done before, in one transaction: what is written with the unit is committed
   * together with the memory of the message. What `work` throws undoes both, and the message can come again. If another
   * process is at work on the same message, it is waited for. Work that fails with RevisionConflictError is undone and done
   * again, up to `maxAttempts` times, so what it knows it must read in the transaction. What is appended in `work` is caused by the message, see
   * `withMetadata`. Acknowledge the message when the promise has resolved, repeat or not.
   * @throws InvalidArgumentError for a message without what the inbox goes by, what `work` throws, and what
   * `StateStore.transaction` does
   */
  async once<Result>(
    message: InboxMessage,
    work: (unit: Unit) => Promise<Result>,
  ): Promise<OnceResult<Result>> {
    const receive = this.#receiver(message);
    const receiving = async (unit: Unit): Promise<OnceResult<Result>> => {
      if (!(await receive(unit))) return { duplicate: true };
      return { duplicate: false, result: await withMetadata(causedByMessage(message), () => work(unit)) };
    };
    for (let attempt = 1; ; attempt++) {
      try {
        const done = await this.#store.transaction(receiving);
        if (!done.duplicate) await this.#forgetNowAndThen();
        return done;
      } catch (error) {
        if (!(error instanceof RevisionConflictError) || attempt >= this.#maxAttempts) throw error;
      }
    }
  }

  /**
   * Forgets what is older than the retention, in small steps, and returns how much it was. `once` does a step of it after
   * the first message and after every hundredth.
   * @throws the signal's reason, between two steps
   */
  async forget({ signal }: { readonly signal?: AbortSignal } = {}): Promise<number> {
    let forgotten = 0;
    for (;;) {
      signal?.throwIfAborted();
      const step = await this.#forgetSome();
      forgotten += step;
      if (step < FORGET_STEP) return forgotten;
    }
  }

  #receiver(message: InboxMessage): (unit: Unit) => Promise<boolean> {
    const inbox = this.name;
    if (this.#dedupeBy === 'id') {
      const id = { inbox, ...checkedId(message) };
      return (unit) => unit.receive(id);
    }
    const place = { inbox, ...checkedPlace(message) };
    return (unit) => unit.receiveInSequence(place);
  }

  /** The message is done, whatever becomes of this. */
  async #forgetNowAndThen(): Promise<void> {
    if (this.#received++ % FORGET_EVERY !== 0) return;
    try {
      await this.#forgetSome();
    } catch (error) {
      this.#logger.warn(`inbox "${this.name}" could not forget old messages: ${messageOf(error)}`);
    }
  }

  async #forgetSome(): Promise<number> {
    const olderThanMs = this.#retentionMs;
    if (olderThanMs === Infinity) return 0;
    return this.#store.forgetReceived(this.name, { olderThanMs, limit: FORGET_STEP });
  }
}

const SEVEN_DAYS_MS = 7 * 24 * 60 * 60 * 1000;

/** So that forgetting is faster than receiving, and rare. */
const FORGET_EVERY = 100;
const FORGET_STEP = 1000;

/**
 * Makes an inbox on a store: `createInbox(store, 'payments').once(message, async (unit) => …)`. Its name tells it from other
 * inboxes of the store, and must stay what it is.
 * @throws InvalidArgumentError for a bad name (1 to 128 characters) or option
 */
export function createInbox<Unit extends StateUnit>(
  store: InboxStore<Unit>,
  name: string,
  options?: InboxOptions,
): Inbox<Unit> {
  return new Inbox(store, name, options);
}
