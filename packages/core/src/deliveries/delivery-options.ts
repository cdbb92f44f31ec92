import { DefinitionError } from '../errors.js';
import type { EventStore, RecordedEvent } from '../store/event-store.js';
import type { FlowOptions } from './flow/flow-settings.js';
import type { Guarantee } from '../processors/processor.js';
import type { ProcessorOptions, SequenceKey } from '../processors/projection.js';

/**
 * Where a delivery begins that never ran: with the first event of the log, with what is appended from now on, with what lies
 * behind a position, or with what was recorded at a time or later.
 */
export type StartAt = 'beginning' | 'end' | { readonly after: number } | { readonly since: Date };

/** What the options of all deliveries share. */
export interface SubscriberOptions extends ProcessorOptions, FlowOptions {
  /**
   * What the subscriber is promised. Default `'atLeastOnce'`. With `'atMostOnce'` a failing event is not tried again, and
   * every event is a commit of its own. `'exactlyOnce'` needs effects that are committed together with the position: see
   * `DeliveryOptions` and `Transport.open`.
   */
  readonly guarantee?: Guarantee;
  /** The sequence of an event. Default: its stream. */
  readonly sequence?: SequenceKey;
  /** Only events of streams in these categories. Default: all. */
  readonly categories?: readonly string[];
  /** Only events for which this is true; it must always say the same of the same event. Default: all. */
  readonly where?: (event: RecordedEvent) => boolean;
  /** Where it begins when it runs for the first time. Default `'beginning'`. */
  readonly startAt?: StartAt;
}

/** @internal @throws DefinitionError for a guarantee that does not exist, or whose errors cannot be handled as asked */
export function checkSubscriber(subject: string, options: SubscriberOptions): void {
  const { guarantee = 'atLeastOnce', categories, startAt = 'beginning' } = options;
  if (!['exactlyOnce', 'atLeastOnce', 'atMostOnce'].includes(guarantee)) {
    const message = `its guarantee must be 'exactlyOnce', 'atLeastOnce' or 'atMostOnce', got ${String(guarantee)}`;
    throw new DefinitionError(subject, message);
  }
  if (guarantee === 'atMostOnce') checkAtMostOnce(subject, options);
  if (categories?.length === 0) {
    throw new DefinitionError(
      subject,
      'its categories are empty, so it would get nothing: leave them out for all',
    );
  }
  checkStart(subject, startAt);
}

/** @internal How a delivery answers errors unless it says otherwise. */
export function errorDefaults(guarantee: Guarantee): {
  readonly onError: 'skip' | 'park';
  readonly maxAttempts: number;
} {
  return guarantee === 'atMostOnce'
    ? { onError: 'skip', maxAttempts: 1 }
    : { onError: 'park', maxAttempts: 5 };
}

/** @internal The position behind which a delivery begins. */
export async function startAfter(
  startAt: StartAt,
  log: Pick<EventStore, 'head' | 'readAll'>,
): Promise<number> {
  if (startAt === 'beginning') return 0;
  if (startAt === 'end') return log.head();
  return 'after' in startAt ? startAt.after : positionBefore(startAt.since, log);
}

/** The position of the last event that was recorded before a time: the log's times grow with its positions. */
async function positionBefore(time: Date, log: Pick<EventStore, 'head' | 'readAll'>): Promise<number> {
  let before = 0;
  let last = await log.head();
  while (before < last) {
    const middle = Math.floor((before + last) / 2);
    const [event] = await log.readAll({ after: middle, to: last, limit: 1 }).toArray();
    if (event && event.recordedAt < time) before = event.position;
    else last = middle;
  }
  return before;
}

function checkAtMostOnce(subject: string, { onError, retry }: SubscriberOptions): void {
  if (onError === 'park') {
    throw new DefinitionError(
      subject,
      "at most once cannot be parked, since a retry may be the second time: onError 'skip' or 'stop'",
    );
  }
  if ((retry?.maxAttempts ?? 1) > 1) {
    throw new DefinitionError(subject, 'at most once cannot be retried: leave retry out');
  }
}

function checkStart(subject: string, startAt: StartAt): void {
  if (startAt === 'beginning' || startAt === 'end') return;
  const known = typeof startAt === 'object' && startAt !== null;
  if (known && 'after' in startAt && Number.isSafeInteger(startAt.after) && startAt.after >= 0) return;
  if (known && 'since' in startAt && !Number.isNaN(startAt.since?.getTime?.() ?? NaN)) return;
  throw new DefinitionError(
    subject,
    "its startAt must be 'beginning', 'end', { after: position } or { since: Date }",
  );
}
