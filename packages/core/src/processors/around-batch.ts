import type { RecordedEvent } from '../store/event-store.js';
import type { StateUnit } from '../store/state-store.js';
import { isTransactional, type Processor, type ProcessorHandler } from './processor.js';

/** Some events of one processor, or a message of one receiver, whose handlers are run together. */
export interface HandledBatch<Unit extends StateUnit = StateUnit> {
  /** The name of the processor or receiver. */
  readonly processor: string;
  readonly events: readonly RecordedEvent[];
  /**
   * The transaction in which handlers run: those of receivers, of custom projections, and of deliveries that are
   * `exactlyOnce`. Undefined for all others, and for the preparations of these.
   */
  readonly unit: Unit | undefined;
}

/**
 * Runs the handlers of a batch by `work`, with something around them: a scope, a span, a measurement. It calls `work` once,
 * and returns or throws what that does.
 */
export type AroundBatch<Unit extends StateUnit = StateUnit> = <Result>(
  batch: HandledBatch<Unit>,
  work: () => Promise<Result>,
) => Promise<Result>;

/** @internal A processor whose handlers run inside `around`. */
export function surrounded<Unit extends StateUnit>(
  processor: Processor<Unit>,
  around: AroundBatch<Unit>,
): Processor<Unit> {
  const { name, version, mode, guarantee, partitions, errors } = processor;
  const { eventTypes, everyType, categories, collections } = processor;
  return {
    ...{ name, version, mode, guarantee, partitions, errors, eventTypes, everyType, categories, collections },
    ...(processor.flow && { flow: processor.flow }),
    ...(processor.wants && { wants: processor.wants.bind(processor) }),
    ...(processor.startAfter && { startAfter: processor.startAfter.bind(processor) }),
    sequenceOf: (event) => processor.sequenceOf(event),
    handler: (generation, slices) => surroundedHandler(name, processor.handler(generation, slices), around),
  };
}

function surroundedHandler<Unit extends StateUnit>(
  processor: string,
  handler: ProcessorHandler<Unit>,
  around: AroundBatch<Unit>,
): ProcessorHandler<Unit> {
  if (!isTransactional(handler)) {
    return {
      handle: (events, context) =>
        around({ processor, events, unit: undefined }, () => handler.handle(events, context)),
      ...(handler.close && { close: handler.close.bind(handler) }),
    };
  }
  return {
    prepare: async (events, committed, context) => {
      const write = await around({ processor, events, unit: undefined }, () =>
        handler.prepare(events, committed, context),
      );
      return (unit) => around({ processor, events, unit }, () => write(unit));
    },
    firstBatch: handler.firstBatch,
    reset: () => handler.reset(),
    ...(handler.fire && { fire: handler.fire.bind(handler) }),
  };
}
