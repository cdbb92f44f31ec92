import { InvalidArgumentError } from '../errors.js';
import type { Direction, EventFilter, ReadAllOptions, ReadStreamOptions } from './event-store.js';
import { checkStream } from './prepare-append.js';

/** A checked read: what lies in `(after, to]`, in one direction. */
export interface ReadRange {
  readonly after: number;
  /** `Infinity` for an open end. */
  readonly to: number;
  readonly direction: Direction;
  /** `Infinity` for no limit. */
  readonly limit: number;
  readonly batchSize: number;
  readonly filter: EventFilter | undefined;
  /** Whether archived events are read too. */
  readonly archived: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Checks the options of `readAll`, so that every adapter refuses the same ones. */
export function readAllRange(options: ReadAllOptions = {}): ReadRange {
  const { after = 0, to = Infinity, direction = 'forward', limit = Infinity, batchSize = 1000 } = options;
  checkCount('after', after, 0);
  checkEnd('to', to);
  checkRead(direction, limit, batchSize);
  checkFilter(options.filter);
  const { filter, signal } = options;
  return { after, to, direction, limit, batchSize, filter, archived: true, signal };
}

/** Checks the arguments of `readStream`; the range is one of revisions, so `after` may be -1. */
export function readStreamRange(stream: string, options: ReadStreamOptions = {}): ReadRange {
  const { from = 0, to = Infinity, direction = 'forward', limit = Infinity, batchSize = 1000 } = options;
  checkStream(stream);
  checkCount('from', from, 0);
  checkEnd('to', to);
  checkRead(direction, limit, batchSize);
  const { archived = false, signal } = options;
  return { after: from - 1, to, direction, limit, batchSize, filter: undefined, archived, signal };
}

/** Checks the arguments of `truncateStream`. */
export function checkTruncation(stream: string, before: number): void {
  checkStream(stream);
  checkCount('before', before, 0);
}

function checkRead(direction: Direction, limit: number, batchSize: number): void {
  if (direction !== 'forward' && direction !== 'backward') {
    throw new InvalidArgumentError('direction', direction, "must be 'forward' or 'backward'");
  }
  if (limit !== Infinity) checkCount('limit', limit, 0);
  checkCount('batchSize', batchSize, 1);
}

/** Checks a position, as `changes` and `waitFor` take it. */
export function checkPosition(argument: string, position: number): void {
  checkCount(argument, position, 0);
}

function checkEnd(argument: string, end: number): void {
  if (end !== Infinity) checkCount(argument, end, 0);
}

function checkCount(argument: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new InvalidArgumentError(argument, value, `must be a whole number from ${least}`);
  }
}

function checkFilter(filter: EventFilter | undefined): void {
  for (const [name, values] of [
    ['filter.types', filter?.types],
    ['filter.categories', filter?.categories],
  ] as const) {
    if (values === undefined) continue;
    if (!Array.isArray(values) || values.some((value) => typeof value !== 'string' || value === '')) {
      throw new InvalidArgumentError(name, values, 'must be an array of non-empty names');
    }
  }
}
