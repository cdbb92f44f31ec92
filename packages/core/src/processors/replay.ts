import { ProcessorStoppedError, UnsupportedError } from '../errors.js';
import type { EventFilter, RecordedEvent } from '../store/event-store.js';
import type { StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './context.js';
import { DocumentProjection } from './document-projection.js';
import {
  decodeOrFail,
  failedEvent,
  filterOf,
  HandlerError,
  isTransactional,
  type Processor,
} from './processor.js';
import { ProgressMeter, type OnProgress } from './progress.js';

/** Which events are replayed. */
export interface ReplayOptions {
  /** Those behind this position. Default 0. */
  readonly after?: number;
  /** Those up to this position. Default: the head of the log when the replay begins. */
  readonly to?: number;
  /** Only those of streams in these categories. */
  readonly categories?: readonly string[];
  /** Only those for which this is true. */
  readonly where?: (event: RecordedEvent) => boolean;
  /** Events that are handled at once, at most. Default 100. */
  readonly batchSize?: number;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

/**
 * Hands a window of the log to a processor's handlers once more, without touching its checkpoints: a delivery sends again,
 * a custom projection writes again, each told that it replays. Returns how many events were handled.
 * @throws ProcessorStoppedError naming the event that failed: those before it are done
 * @throws UnsupportedError for a document projection, whose documents would be folded twice: rebuild it
 */
export async function replayWindow<Unit extends StateUnit>(
  processor: Processor<Unit>,
  context: ProcessorContext<Unit>,
  { after = 0, to, categories, where = () => true, batchSize = 100, onProgress, signal }: ReplayOptions,
): Promise<number> {
  if (processor instanceof DocumentProjection) {
    throw new UnsupportedError(
      `replaying a window into the documents of "${processor.name}"`,
      'rebuild it instead',
    );
  }
  const { log, codec, clock } = context;
  const end = to ?? (await log.head());
  const filter = filterOf(processor, codec);
  const meter = new ProgressMeter(processor.name, after, clock);
  const replay = await windowHandling(processor, context, signal);
  let handled = 0;
  for await (const batch of log
    .readAll({ after, to: end, filter: narrowed(filter, categories), batchSize, signal })
    .batches()) {
    const events = await asStopped(processor, async () => {
      const decoded = batch.events.map((event) => decodeOrFail(codec, event)).filter(where);
      await replay(decoded);
      return decoded;
    });
    handled += events.length;
    meter.advance(events.length);
    onProgress?.(meter.at(batch.through, end));
  }
  return handled;
}

/** The filter of a processor, and of its categories only those asked for. */
function narrowed(filter: EventFilter, categories: readonly string[] | undefined): EventFilter {
  if (!categories) return filter;
  const own = filter.categories;
  return { ...filter, categories: own ? categories.filter((one) => own.includes(one)) : categories };
}

async function windowHandling<Unit extends StateUnit>(
  processor: Processor<Unit>,
  { state }: ProcessorContext<Unit>,
  signal: AbortSignal | undefined,
): Promise<(events: readonly RecordedEvent[]) => Promise<void>> {
  const live = (await state.generations(processor.name)).find(({ status }) => status === 'live');
  const generation = live?.generation ?? 0;
  const handler = processor.handler(generation);
  const handling = { isReplay: () => true, signal };
  if (!isTransactional(handler)) return (events) => handler.handle(events, handling);
  return async (events) => {
    const effects = await handler.prepare(events, (name) => state.documentsOf(name, generation), handling);
    await state.transaction(effects);
  };
}

async function asStopped<Unit extends StateUnit, Result>(
  { name }: Processor<Unit>,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HandlerError)) throw error;
    throw new ProcessorStoppedError(name, failedEvent(error.event), error.cause);
  }
}
