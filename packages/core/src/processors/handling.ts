import { LeaseLostError } from '../errors.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { DeadLetter } from '../store/processor-state.js';
import type { DocumentAccess, StateUnit } from '../store/state-store.js';
import type { LaneWriter } from './lane-writer.js';
import {
  HandlerError,
  isTransactional,
  type EffectHandler,
  type Guarantee,
  type HandlingContext,
  type ProcessorHandler,
  type TransactionalHandler,
} from './processor.js';
import { isTransient } from './transient.js';

/** What a partition does next: handle events, and put letters behind those of their sequences. */
export interface Step {
  readonly events: readonly RecordedEvent[];
  readonly letters: readonly DeadLetter[];
  /** Where the checkpoint is when all of it is done. */
  readonly through: number;
}

/**
 * Takes steps under one guarantee. A step that fails is narrowed to the event that fails: everything before that is done
 * and committed, without having been handled twice where the effects could show it.
 */
export interface Handling {
  /** Resolves with the failure of the first event that could not be handled; undefined when the step is done. */
  take(step: Step): Promise<HandlerError | undefined>;
}

/** What handlers get at beside their events. */
export interface HandlingParts<Unit extends StateUnit> {
  readonly writer: LaneWriter<Unit>;
  readonly committed: (collection: string) => Pick<DocumentAccess, 'getMany'>;
  readonly context: HandlingContext;
}

/** The handling that a guarantee asks for. */
export function handlingOf<Unit extends StateUnit>(
  guarantee: Guarantee,
  handler: ProcessorHandler<Unit>,
  parts: HandlingParts<Unit>,
): Handling {
  if (isTransactional(handler)) return new ExactlyOnce(handler, parts);
  return guarantee === 'atMostOnce' ? new AtMostOnce(handler, parts) : new AtLeastOnce(handler, parts);
}

/** Effects and checkpoint in one transaction. */
class ExactlyOnce<Unit extends StateUnit> implements Handling {
  readonly #handler: TransactionalHandler<Unit>;
  readonly #parts: HandlingParts<Unit>;

  constructor(handler: TransactionalHandler<Unit>, parts: HandlingParts<Unit>) {
    this.#handler = handler;
    this.#parts = parts;
  }

  async take(step: Step): Promise<HandlerError | undefined> {
    const thrown = await this.#commit(step);
    if (thrown === undefined) return undefined;
    const error = await this.#narrowed(step, thrown.error);
    if (!error) return undefined;
    // What the handler did to get here is undone; this time it ends before the event that failed.
    const before = await this.#commit(partBefore(step, error.event.position));
    if (before && !(before.error instanceof HandlerError)) throw before.error;
    return before ? (before.error as HandlerError) : error;
  }

  async #commit(step: Step): Promise<{ readonly error: unknown } | undefined> {
    const { writer, committed, context } = this.#parts;
    const { events, letters, through } = partAfter(step, writer.position);
    try {
      if (events.length === 0) {
        await writer.move(through, { letters });
        return undefined;
      }
      const effects = await this.#handler.prepare(events, committed, context);
      await writer.move(through, { letters, effects });
      return undefined;
    } catch (error) {
      this.#handler.reset();
      if (error instanceof LeaseLostError || isTransient(error)) throw error;
      return { error };
    }
  }

  /** The failure of one event: an error that names none is looked for event by event. */
  async #narrowed(step: Step, error: unknown): Promise<HandlerError | undefined> {
    if (error instanceof HandlerError) return error;
    const [first] = step.events;
    if (!first) throw error;
    if (step.events.length === 1) return new HandlerError(first, error);
    for (const event of step.events) {
      const one = partBefore({ ...step, events: [event] }, event.position + 1);
      const thrown = await this.#commit(one);
      if (thrown)
        return thrown.error instanceof HandlerError ? thrown.error : new HandlerError(event, thrown.error);
    }
    const rest = await this.#commit({ ...step, events: [] });
    if (rest) throw rest.error;
    return undefined;
  }
}

/** First the effects, then the checkpoint. */
class AtLeastOnce<Unit extends StateUnit> implements Handling {
  readonly #handler: EffectHandler;
  readonly #parts: HandlingParts<Unit>;

  constructor(handler: EffectHandler, parts: HandlingParts<Unit>) {
    this.#handler = handler;
    this.#parts = parts;
  }

  async take(step: Step): Promise<HandlerError | undefined> {
    const { writer, context } = this.#parts;
    const failure = await handle(this.#handler, step.events, context);
    const done = failure ? partBefore(step, failure.event.position) : step;
    await writer.move(done.through, { letters: done.letters });
    return failure;
  }
}

/** First the checkpoint, then the effects: event by event, so that a crash loses no more than one. */
class AtMostOnce<Unit extends StateUnit> implements Handling {
  readonly #handler: EffectHandler;
  readonly #parts: HandlingParts<Unit>;

  constructor(handler: EffectHandler, parts: HandlingParts<Unit>) {
    this.#handler = handler;
    this.#parts = parts;
  }

  async take(step: Step): Promise<HandlerError | undefined> {
    const { writer, context } = this.#parts;
    for (const event of step.events) {
      await writer.move(event.position);
      const failure = await handle(this.#handler, [event], context);
      if (failure) return failure;
    }
    await writer.move(step.through, { letters: step.letters });
    return undefined;
  }
}

async function handle(
  handler: EffectHandler,
  events: readonly RecordedEvent[],
  context: HandlingContext,
): Promise<HandlerError | undefined> {
  const [first] = events;
  if (!first) return undefined;
  try {
    await handler.handle(events, context);
    return undefined;
  } catch (error) {
    return error instanceof HandlerError ? error : new HandlerError(first, error);
  }
}

/** What of a step is not done yet. */
function partAfter(step: Step, position: number): Step {
  const { events, letters } = step;
  if ((events[0]?.position ?? Infinity) > position && letters.length === 0) return step;
  return {
    ...step,
    events: events.filter((event) => event.position > position),
    letters: letters.filter((letter) => letter.position > position),
  };
}

/** What of a step lies before a position. */
function partBefore({ events, letters }: Step, position: number): Step {
  return {
    events: events.filter((event) => event.position < position),
    letters: letters.filter((letter) => letter.position < position),
    through: position - 1,
  };
}
