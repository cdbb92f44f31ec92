import { LeaseLostError } from '../errors.js';
import type { Partition, Timer } from '../store/processor-state.js';
import type { StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './context.js';
import { isTransactional, type Processor, type ProcessorHandler } from './processor.js';

/** Timers that fire in one transaction. */
export const TIMERS_AT_ONCE = 100;

/** Makes events of timers that are due: returns what is to be done in the transaction. */
export type FireTimers<Unit extends StateUnit> = (
  due: readonly Timer[],
) => Promise<(unit: Unit) => Promise<void>>;

/** What makes events of a handler's timers, if it sets any. */
export function timersOf<Unit extends StateUnit>(
  handler: ProcessorHandler<Unit>,
): FireTimers<Unit> | undefined {
  if (!isTransactional(handler) || !handler.fire) return undefined;
  return handler.fire.bind(handler);
}

/** Which timers fire: those due by a time, once everything up to a position is handled that was in the log by then. */
export interface DueBy {
  readonly by: number;
  readonly after: number;
}

/**
 * Fires timers of a processor that are due; true if there were some. Nobody needs to hold a lease: whoever removes a timer
 * first has fired it.
 */
export async function fireDueTimers<Unit extends StateUnit>(
  processor: Processor<Unit>,
  context: ProcessorContext<Unit>,
  dueBy: DueBy,
): Promise<boolean> {
  const { state } = context;
  if (!timersOf(processor.handler(0))) return false;
  const live = (await state.generations(processor.name)).find(({ status }) => status === 'live');
  const fire = live && timersOf(processor.handler(live.generation));
  if (!fire) return false;
  let fired = false;
  for (const partition of await state.partitions(processor.name)) {
    if (partition.generation !== live.generation || partition.position < dueBy.after) continue;
    if (await fireOf(partition, context, dueBy.by, fire)) fired = true;
  }
  return fired;
}

async function fireOf<Unit extends StateUnit>(
  partition: Partition,
  { state }: ProcessorContext<Unit>,
  by: number,
  fire: FireTimers<Unit>,
): Promise<boolean> {
  const first = await state.timers(partition, TIMERS_AT_ONCE);
  const due = first.filter(({ dueAt }) => dueAt.getTime() <= by);
  if (due.length === 0) return false;
  const write = await fire(due);
  try {
    await state.transaction(async (unit) => {
      await unit.advance(partition, partition.position, partition.position);
      await write(unit);
    });
    return true;
  } catch (error) {
    if (error instanceof LeaseLostError) return false;
    throw error;
  }
}
