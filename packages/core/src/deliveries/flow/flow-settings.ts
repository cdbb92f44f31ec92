import { DefinitionError } from '../../errors.js';

/** How fast a delivery may go. Events that are filtered out do not count, and retries do not. */
export interface RateOptions {
  /** Events a second that are given to the handler, over all partitions of the delivery in this process. */
  readonly perSecond: number;
  /** How many may go at once after a rest. Default: those of one second. */
  readonly burst?: number;
}

/** What is done when a delivery falls behind. The log holds all of it in any case. */
export interface BacklogOptions {
  /** Events behind the head of the log from which on a warning is logged, and partitions are split. Default 10,000. */
  readonly warnAbove?: number;
  /**
   * Split partitions, up to so many, while the delivery stays behind by more than `warnAbove`, so that more workers share it.
   * They are not merged by themselves. Default: never.
   */
  readonly splitUpTo?: number;
}

/** How a delivery's events flow, and what becomes of them when they are more than can be delivered. */
export interface FlowOptions {
  /** Default: as fast as the subscriber takes them. */
  readonly rate?: RateOptions;
  /** Events in hand at once, over all partitions of the delivery in this process. Default: what batches are. */
  readonly maxInFlight?: number;
  /**
   * Deliveries of a higher priority go first: before each batch, one of lower priority waits until those in the same process
   * have nothing to do, but no longer than a second. Default 0.
   */
  readonly priority?: number;
  readonly backlog?: BacklogOptions;
  /** Events that were recorded longer ago are left out, and counted. Default: none. */
  readonly expireAfterMs?: number;
}

/** @internal The same with their defaults. */
export interface FlowSettings extends FlowOptions {
  readonly priority: number;
  readonly backlog: BacklogOptions & { readonly warnAbove: number };
}

/** @internal @throws DefinitionError for anything out of range */
export function flowSettings(subject: string, options: FlowOptions): FlowSettings {
  const { rate, maxInFlight, priority = 0, backlog = {}, expireAfterMs } = options;
  const { warnAbove = 10_000, splitUpTo } = backlog;
  const check = (name: string, value: number | undefined, least: number, whole = false): void => {
    if (value === undefined || (value >= least && (!whole || Number.isSafeInteger(value)))) return;
    const what = whole ? 'a whole number' : 'a number';
    throw new DefinitionError(subject, `its ${name} must be ${what} from ${least}, got ${String(value)}`);
  };
  if (rate && !(rate.perSecond > 0)) {
    throw new DefinitionError(subject, `its rate.perSecond must be above 0, got ${String(rate.perSecond)}`);
  }
  check('rate.burst', rate?.burst, 1);
  check('maxInFlight', maxInFlight, 1, true);
  check('priority', priority, -Infinity);
  check('backlog.warnAbove', warnAbove, 0);
  check('backlog.splitUpTo', splitUpTo, 1, true);
  if (splitUpTo !== undefined && splitUpTo > 1024) {
    throw new DefinitionError(subject, `its backlog.splitUpTo must be 1024 at most, got ${splitUpTo}`);
  }
  check('expireAfterMs', expireAfterMs, 0);
  return { rate, maxInFlight, priority, backlog: { warnAbove, splitUpTo }, expireAfterMs };
}
