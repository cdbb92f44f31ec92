import { UnsupportedError } from '../errors.js';
import type { EventCodec } from '../events/codec.js';
import type { EventBatch } from '../store/event-reader.js';
import type { LogUnit } from '../store/event-store.js';
import type { Partition } from '../store/processor-state.js';
import type { StateUnit } from '../store/state-store.js';
import { decodeOrFail, type Projection } from './projection.js';

/** How many events are read at once while a partition is brought forward inside a transaction. */
const STEP_EVENTS = 1000;

/**
 * Handles a batch for one partition inside a transaction that is open already, and moves its checkpoint. Nobody needs to
 * hold a lease: the checkpoint moves only from where it was read, under the token it was read with.
 * @throws HandlerError, LeaseLostError; the transaction must not go on
 */
export async function handleInTransaction<Unit extends StateUnit>(
  projection: Projection<Unit>,
  partition: Partition,
  { events, through }: EventBatch,
  unit: Unit,
  codec: EventCodec,
): Promise<Partition> {
  const wanted = new Set(codec.storedNames(projection.eventTypes));
  const handler = projection.handler(partition.generation);
  const decoded = events.filter(({ type }) => wanted.has(type)).map((event) => decodeOrFail(codec, event));
  const write = await handler.prepare(decoded, (collection) =>
    unit.documents(collection, partition.generation),
  );
  await unit.advance(partition, partition.position, through);
  await write(unit);
  return { ...partition, position: through };
}

/**
 * Handles the next events of the log up to a position, in steps; returns the partition as far as it came, which is the
 * same one if there was nothing. @throws like `handleInTransaction`
 */
export async function bringForward<Unit extends StateUnit>(
  projection: Projection<Unit>,
  partition: Partition,
  unit: Unit & LogUnit,
  codec: EventCodec,
  { to = Infinity, steps = Infinity }: { readonly to?: number; readonly steps?: number } = {},
): Promise<Partition> {
  let at = partition;
  for (let step = 0; step < steps && at.position < to; step++) {
    const batch = await nextBatch(unit, at.position, to);
    if (!batch) break;
    at = await handleInTransaction(projection, at, batch, unit, codec);
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

async function nextBatch(unit: LogUnit, after: number, to: number): Promise<EventBatch | undefined> {
  const range = { after, to: to === Infinity ? undefined : to, batchSize: STEP_EVENTS };
  for await (const batch of unit.readAll(range).batches()) if (batch.through > after) return batch;
  return undefined;
}
