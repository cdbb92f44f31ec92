import { DeadLetterError, InvalidArgumentError } from '../errors.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { DeadLetter, LetterSelection } from '../store/processor-state.js';
import type { StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './context.js';
import { decodeOrFail, HandlerError } from './processor.js';

/** Which dead letters are meant: one by its event's position, those of a sequence, or all. */
export interface LetterChoice {
  readonly position?: number;
  readonly sequence?: string;
}

/** Which dead letters are listed. */
export interface ListLettersOptions {
  readonly sequence?: string;
  /** Those that were discarded instead of those that hold something back. */
  readonly discarded?: boolean;
  /** Those behind this position, for the next page. */
  readonly after?: number;
  /** At most so many. Default 100. */
  readonly limit?: number;
}

/** A dead letter with its event. */
export interface InspectedLetter {
  readonly letter: DeadLetter;
  /** Decoded if it can be, else as it is stored; undefined if the log no longer has it. */
  readonly event: RecordedEvent | undefined;
}

/**
 * The dead letters of one processor. A letter holds back the later events of its sequence, in order; other sequences
 * flow on. Whoever holds the partition's lease tries them again, so a retry can never overtake a live worker.
 */
export class DeadLetters<Unit extends StateUnit = StateUnit> {
  readonly #processor: string;
  readonly #context: ProcessorContext<Unit>;

  /** @internal `application.processor(name).deadLetters` hands it out. */
  constructor(processor: string, context: ProcessorContext<Unit>) {
    this.#processor = processor;
    this.#context = context;
  }

  /** In the order of their events. */
  async list(options: ListLettersOptions = {}): Promise<readonly DeadLetter[]> {
    const selection = await this.#selection();
    return selection ? this.#context.state.deadLetters({ ...options, ...selection }) : [];
  }

  /** How many hold something back. */
  async count(): Promise<number> {
    const selection = await this.#selection();
    const counts = await this.#context.state.countDeadLetters(this.#processor);
    return counts.find(({ generation }) => generation === selection?.generation)?.count ?? 0;
  }

  /** One letter with its event; undefined if there is none at this position. */
  async inspect(position: number): Promise<InspectedLetter | undefined> {
    const letter = await this.#find(position);
    if (!letter) return undefined;
    const { log, codec } = this.#context;
    const [stored] = await log.readAll({ after: position - 1, to: position }).toArray();
    if (!stored) return { letter, event: undefined };
    try {
      return { letter, event: decodeOrFail(codec, stored) };
    } catch (error) {
      if (error instanceof HandlerError) return { letter, event: stored };
      throw error;
    }
  }

  /**
   * Makes letters due: the worker that holds their partition tries them at once, the first of each sequence and, when that
   * succeeds, what waits behind it. Without a running worker, the next one does. Returns how many sequences are tried.
   * @throws DeadLetterError for a position without a letter, or with one that waits behind another
   */
  async retry(choice: LetterChoice = {}): Promise<number> {
    const selection = await this.#selection();
    if (!selection) return 0;
    const chosen = await this.#first(choice);
    const count = await this.#context.state.retryDeadLetters({ ...selection, ...chosen }, this.#now());
    this.#context.control.wake();
    return count;
  }

  /**
   * Gives letters up, for good: what waits behind them goes on without them. They are kept to be looked at until the
   * processor is reset. Returns how many there were. @throws DeadLetterError for a position without a letter
   */
  async discard(choice: LetterChoice, reason: string): Promise<number> {
    if (reason.trim() === '') throw new InvalidArgumentError('reason', reason, 'must say why');
    const selection = await this.#selection();
    if (!selection) return 0;
    if (choice.position !== undefined) await this.#existing(choice.position);
    const discarded = { reason, at: this.#now() };
    const count = await this.#context.state.discardDeadLetters({ ...selection, ...choice }, discarded);
    this.#context.control.wake();
    return count;
  }

  async #first(choice: LetterChoice): Promise<LetterChoice> {
    if (choice.position === undefined) return choice;
    const letter = await this.#existing(choice.position);
    const [first] = await this.list({ sequence: letter.sequence, limit: 1 });
    if (first && first.position < letter.position) {
      throw new DeadLetterError(
        this.#processor,
        letter.position,
        `waits behind the one at position ${first.position}: retry that one, or the sequence "${letter.sequence}"`,
      );
    }
    return { sequence: letter.sequence };
  }

  async #existing(position: number): Promise<DeadLetter> {
    const letter = await this.#find(position);
    if (letter) return letter;
    throw new DeadLetterError(this.#processor, position, 'does not exist (any more)');
  }

  async #find(position: number): Promise<DeadLetter | undefined> {
    const selection = await this.#selection();
    if (!selection) return undefined;
    const [open] = await this.#context.state.deadLetters({ ...selection, position, limit: 1 });
    if (open) return open;
    const [gone] = await this.#context.state.deadLetters({
      ...selection,
      position,
      limit: 1,
      discarded: true,
    });
    return gone;
  }

  /** The letters of the live generation. */
  async #selection(): Promise<Pick<LetterSelection, 'processor' | 'generation'> | undefined> {
    const all = await this.#context.state.generations(this.#processor);
    const live = all.find(({ status }) => status === 'live');
    return live && { processor: this.#processor, generation: live.generation };
  }

  #now(): Date {
    return new Date(this.#context.clock.now());
  }
}
