import { LeaseLostError, messageOf, ProcessorStoppedError } from '../errors.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { DeadLetter } from '../store/processor-state.js';
import type { StateUnit } from '../store/state-store.js';
import type { Sequence } from './feed.js';
import type { ProcessorContext } from './context.js';
import type { LaneWriter } from './lane-writer.js';
import { behindLetter, failedLetter, type LetterOwner } from './letters.js';
import { decodeOrFail, failedEvent, HandlerError, type Processor } from './processor.js';
import { isTransient } from './transient.js';

/** Letters that are tried at once before new events have their turn. */
const TURN = 100;

/** How a letter is handled: in the transaction that removes it, or before that. Throws what the handler throws. */
export type HandleLetter<Unit extends StateUnit> = (
  event: RecordedEvent,
  remove: (unit: Unit) => Promise<void>,
) => Promise<void>;

/** What one partition needs to keep its dead letters. */
export interface LettersParts<Unit extends StateUnit> {
  readonly processor: Processor<Unit>;
  readonly context: ProcessorContext<Unit>;
  readonly writer: LaneWriter<Unit>;
  readonly handle: HandleLetter<Unit>;
}

/**
 * The dead letters of one partition under one lease. Whoever holds the lease is the only one that parks, tries and removes
 * them, so their order needs no further lock: a command to retry only says when they are due, and one to discard only
 * marks them.
 */
export class LaneLetters<Unit extends StateUnit> {
  readonly #parts: LettersParts<Unit>;
  #parked = new Set<string>();

  constructor(parts: LettersParts<Unit>) {
    this.#parts = parts;
  }

  /** Whether any sequence is held back. */
  get any(): boolean {
    return this.#parked.size > 0;
  }

  /** Whether a letter holds back this sequence. */
  holds(key: string | undefined): boolean {
    return key !== undefined && this.#parked.has(key);
  }

  /** Learns which sequences are held back. */
  async load(): Promise<void> {
    const { context, writer } = this.#parts;
    this.#parked = new Set(await context.state.parkedSequences(writer.lease));
  }

  /** The letter of an event that waits behind another. */
  behind(event: RecordedEvent, sequence: Sequence): DeadLetter {
    return behindLetter(this.#owner, event, sequence);
  }

  /**
   * Parks an event that failed, and moves the checkpoint past it.
   * @throws ProcessorStoppedError if it belongs to no one sequence, or if the processor has as many letters as it may
   */
  async park(event: RecordedEvent, sequence: Sequence, cause: unknown, attempts: number): Promise<void> {
    const { processor, context, writer } = this.#parts;
    if (sequence.key === undefined) {
      throw this.#stopped(event, cause, 'it cannot be parked, since its sequence is not known');
    }
    const counts = await context.state.countDeadLetters(processor.name);
    const count = counts.find(({ generation }) => generation === writer.lease.generation)?.count ?? 0;
    if (count >= processor.errors.capacity) {
      throw this.#stopped(event, cause, `there are ${count} dead letters already, the most that are allowed`);
    }
    const letter = failedLetter(this.#owner, this.behind(event, sequence), cause, attempts);
    await writer.move(event.position, { letters: [letter] });
    this.#parked.add(sequence.key);
    context.logger.error(
      `"${processor.name}" parked ${event.type} at position ${event.position} (${event.stream} revision ${event.revision}), ` +
        `and what follows in sequence "${sequence.key}": ${messageOf(cause)}`,
    );
  }

  /** Tries the letters whose time has come, each sequence in order, until one fails. True if there may be more. */
  async retryDue(signal: AbortSignal): Promise<boolean> {
    const { context, writer } = this.#parts;
    let turn = TURN;
    const due = await context.state.dueDeadLetters(writer.lease, new Date(context.clock.now()), TURN);
    for (const first of due) {
      let next: DeadLetter | undefined = first;
      while (next && turn-- > 0 && !signal.aborted) next = await this.#retry(next);
      if (turn <= 0) return true;
    }
    // A discarded letter may have been the last that held its sequence.
    if (due.length === 0) await this.load();
    return false;
  }

  /** Tries one letter; returns the next of its sequence if that is to be tried at once. */
  async #retry(letter: DeadLetter): Promise<DeadLetter | undefined> {
    const { context, writer, handle } = this.#parts;
    try {
      const event = decodeOrFail(context.codec, await this.#read(letter));
      await handle(event, async (unit) => {
        if (!(await unit.unpark(letter))) throw new LetterGoneError();
      });
    } catch (error) {
      if (error instanceof LetterGoneError) return this.#nextOf(letter);
      if (error instanceof LeaseLostError || isTransient(error)) throw error;
      const cause = error instanceof HandlerError ? error.cause : error;
      // What passes by itself is tried again at the next turn.
      if (this.#parts.processor.errors.kindOf(cause) === 'transient') return undefined;
      const failed = failedLetter(this.#owner, { ...letter, retries: letter.retries + 1 }, cause);
      await writer.within((unit) => unit.park([failed]));
      return undefined;
    }
    return this.#nextOf(letter);
  }

  async #nextOf({ processor, generation, sequence }: DeadLetter): Promise<DeadLetter | undefined> {
    const { state } = this.#parts.context;
    const [next] = await state.deadLetters({ processor, generation, sequence, limit: 1 });
    if (!next) this.#parked.delete(sequence);
    return next?.attempts === 0 ? next : undefined;
  }

  async #read({ event: { position, type, stream, revision } }: DeadLetter): Promise<RecordedEvent> {
    const { log } = this.#parts.context;
    const [event] = await log.readAll({ after: position - 1, to: position }).toArray();
    if (event) return event;
    throw new Error(
      `The log has no event at position ${position} (${type}, ${stream} revision ${revision}) any more: discard its dead letter`,
    );
  }

  get #owner(): LetterOwner {
    const { processor, context, writer } = this.#parts;
    return { processor, generation: writer.lease.generation, clock: context.clock };
  }

  #stopped(event: RecordedEvent, cause: unknown, why: string): ProcessorStoppedError {
    const { processor } = this.#parts;
    const error = new Error(`${messageOf(cause)} (${why})`, { cause });
    return new ProcessorStoppedError(processor.name, failedEvent(event), error);
  }
}

/** The letter was discarded while it was being handled. */
class LetterGoneError extends Error {}
