import { UnsupportedError } from '../errors.js';
import type { EventCodec } from '../events/codec.js';
import type { EventBatch } from '../store/event-reader.js';
import type { LogUnit, RecordedEvent } from '../store/event-store.js';
import type { DeadLetter, Partition, SliceRange } from '../store/processor-state.js';
import { SLICES } from '../store/slices.js';
import type { StateUnit } from '../store/state-store.js';
import { sequenceOfEvent, type Sequence } from './feed.js';
import { decodeOrFail, filterOf, isTransactional, passes, type Processor } from './processor.js';

/** How many events are read at once while a partition is brought forward inside a transaction. */
const STEP_EVENTS = 1000;

/** What is to be known about the events that are handled inside a transaction. */
export interface InTransactionOptions {
  readonly codec: EventCodec;
  readonly isReplay?: (event: RecordedEvent) => boolean;
  /** Makes a letter of an event that must not be handled, or leaves it out; undefined for one that may be. */
  readonly letterOf?: (event: RecordedEvent, sequence: Sequence) => DeadLetter | 'skip' | undefined;
}

/**
 * Handles a batch for one partition inside a transaction that is open already, and moves its checkpoint. Nobody needs to
 * hold a lease: the checkpoint moves only from where it was read, under the token it was read with.
 * @throws HandlerError, LeaseLostError; the transaction must not go on
 */
export async function handleInTransaction<Unit extends StateUnit>(
  processor: Processor<Unit>,
  partition: Partition,
  { events, through }: EventBatch,
  unit: Unit,
  options: InTransactionOptions,
): Promise<Partition> {
  const handler = processor.handler(partition.generation);
  if (!isTransactional(handler))
    throw new UnsupportedError(`"${processor.name}" in a transaction`, 'run it in a worker');
  const { handled, letters } = sorted(processor, partition, events, options);
  const write = await handler.prepare(
    handled,
    (collection) => unit.documents(collection, partition.generation),
    {
      isReplay: options.isReplay ?? (() => false),
    },
  );
  await unit.advance(partition, partition.position, through);
  if (letters.length > 0) await unit.park(letters);
  await write(unit);
  return {
    ...partition,
    position: through,
    ahead: partition.ahead.filter(({ position }) => position > through),
  };
}

/**
 * Handles the next events of the log up to a position, in steps; returns the partition as far as it came, which is the
 * same one if there was nothing. @throws like `handleInTransaction`
 */
export async function bringForward<Unit extends StateUnit>(
  processor: Processor<Unit>,
  partition: Partition,
  unit: Unit & LogUnit,
  {
    to = Infinity,
    steps = Infinity,
    ...options
  }: InTransactionOptions & { readonly to?: number; readonly steps?: number },
): Promise<Partition> {
  let at = partition;
  for (let step = 0; step < steps && at.position < to; step++) {
    const batch = await nextBatch(unit, at.position, to);
    if (!batch) break;
    at = await handleInTransaction(processor, at, batch, unit, options);
  }
  return at;
}

/** Whether a transaction's unit can read the log, as that of a store which is both log and state can. */
export function hasLog<Unit extends StateUnit>(unit: Unit): unit is Unit & LogUnit {
  return 'readAll' in unit;
}

/** @throws UnsupportedError */
export function withLog<Unit extends StateUnit>(unit: Unit): Unit & LogUnit {
  if (hasLog(unit)) return unit;
  throw new UnsupportedError('inline projections', "declare them with mode: 'async'");
}

/** The events of a partition, decoded, and the letters of those that must not be handled. */
function sorted<Unit extends StateUnit>(
  processor: Processor<Unit>,
  partition: Partition,
  events: readonly RecordedEvent[],
  { codec, letterOf }: InTransactionOptions,
): { readonly handled: readonly RecordedEvent[]; readonly letters: readonly DeadLetter[] } {
  const wanted = passes(filterOf(processor, codec));
  const all =
    partition.firstSlice === 0 && partition.lastSlice === SLICES - 1 && partition.ahead.length === 0;
  const handled: RecordedEvent[] = [];
  const letters: DeadLetter[] = [];
  for (const stored of events) {
    if (!wanted(stored)) continue;
    if (all && !letterOf) {
      handled.push(decodeOrFail(codec, stored));
      continue;
    }
    const event = decodeOrFail(codec, stored);
    const sequence = sequenceOfEvent(event, undefined, (one) => processor.sequenceOf(one));
    if (!isOwn(partition, event, sequence)) continue;
    const letter = letterOf?.(event, sequence);
    if (letter === 'skip') continue;
    if (letter) letters.push(letter);
    else if (sequence.failure) throw sequence.failure;
    else handled.push(event);
  }
  return { handled, letters };
}

function isOwn(partition: Partition, { position }: RecordedEvent, { slice }: Sequence): boolean {
  if (!isIn(partition, slice)) return false;
  return !partition.ahead.some((part) => isIn(part, slice) && position <= part.position);
}

/** Whether a slice lies in a range. */
export function isIn({ firstSlice, lastSlice }: SliceRange, slice: number): boolean {
  return firstSlice <= slice && slice <= lastSlice;
}

async function nextBatch(unit: LogUnit, after: number, to: number): Promise<EventBatch | undefined> {
  const range = { after, to: to === Infinity ? undefined : to, batchSize: STEP_EVENTS };
  for await (const batch of unit.readAll(range).batches()) if (batch.through > after) return batch;
  return undefined;
}
