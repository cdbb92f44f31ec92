import { LeaseLostError } from '../errors.js';
import type { Lease, Partition, Timer } from '../store/processor-state.js';
import type { StateStore, StateUnit } from '../store/state-store.js';
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

/** Who fires timers outside of a lane, and which. */
export interface FiringOptions {
  readonly holder: string;
  readonly leaseMs: number;
  /** Those that are due at this time. */
  readonly by: number;
}

/**
 * Fires timers of a processor that are due, in the partitions that nobody holds; true if there were some. Whoever holds
 * the others fires theirs. The events that were in the log before must have been handled.
 */
export async function fireDueTimers<Unit extends StateUnit>(
  processor: Processor<Unit>,
  state: StateStore<Unit>,
  options: FiringOptions,
): Promise<boolean> {
  if (!timersOf(processor.handler(0))) return false;
  const live = (await state.generations(processor.name)).find(({ status }) => status === 'live');
  const fire = live && timersOf(processor.handler(live.generation));
  if (!fire) return false;
  let fired = false;
  for (const partition of await state.partitions(processor.name)) {
    if (partition.generation !== live.generation) continue;
    if (await fireOf(partition, state, options, fire)) fired = true;
  }
  return fired;
}

async function fireOf<Unit extends StateUnit>(
  partition: Partition,
  state: StateStore<Unit>,
  { holder, leaseMs, by }: FiringOptions,
  fire: FireTimers<Unit>,
): Promise<boolean> {
  if (!(await dueOf(partition, state, by)).length) return false;
  const lease = await state.acquireLease(partition, { holder, ttlMs: leaseMs });
  if (!lease) return false;
  try {
    const due = await dueOf(lease, state, by);
    const write = await fire(due);
    await state.transaction(async (unit) => {
      await unit.advance(lease, lease.position, lease.position);
      await write(unit);
    });
    return due.length > 0;
  } catch (error) {
    if (error instanceof LeaseLostError) return false;
    throw error;
  } finally {
    await state.releaseLease(lease);
  }
}

/** The first timers of a partition that are due. */
export async function dueOf(
  partition: Partition | Lease,
  state: Pick<StateStore, 'timers'>,
  by: number,
): Promise<readonly Timer[]> {
  const first = await state.timers(partition, TIMERS_AT_ONCE);
  return first.filter(({ dueAt }) => dueAt.getTime() <= by);
}
