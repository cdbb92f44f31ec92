import { ProcessorOutdatedError, ProcessorRolledBackError } from '../errors.js';
import type { EventStore } from '../store/event-store.js';
import type { Generation, StateStore, StateUnit } from '../store/state-store.js';
import type { Processor } from './processor.js';

/**
 * The generation that a processor's code works on: the live one of its version, or one to be built beside the live one
 * of an older version.
 * @throws ProcessorOutdatedError if the live one is of a newer version
 * @throws ProcessorRolledBackError if this version was live and an older one was put back in its place
 */
export async function generationFor<Unit extends StateUnit>(
  processor: Pick<Processor, 'name' | 'version' | 'collections' | 'partitions' | 'startAfter'>,
  state: StateStore<Unit>,
  log: Pick<EventStore, 'head' | 'readAll'>,
): Promise<Generation> {
  const { name, version, collections, partitions } = processor;
  const all = await state.generations(name);
  const live = all.find(({ status }) => status === 'live');
  // The store tells whether the indexes of a live one are still those that are declared.
  const indexed = collections.some(({ indexes }) => indexes !== undefined);
  if (live?.version === version && !indexed) return live;
  if (live && live.version > version) throw new ProcessorOutdatedError(name, version, live.version);
  const building = all.some((one) => one.status === 'building' && !one.shadow && one.version === version);
  if (
    live &&
    live.version < version &&
    !building &&
    all.some((one) => one.status === 'retired' && one.version === version)
  ) {
    throw new ProcessorRolledBackError(name, version, live.version);
  }
  const after = all.length === 0 ? await processor.startAfter?.(log) : undefined;
  return state.createGeneration(name, { version, collections, partitions, after });
}

/** Drops what swaps have replaced, but for the newest, which a rollback can put back. */
export async function dropReplaced(
  state: Pick<StateStore, 'generations' | 'dropGeneration'>,
  processor: string,
): Promise<void> {
  const retired = (await state.generations(processor)).filter(({ status }) => status === 'retired');
  for (const { generation } of retired.slice(0, -1)) await state.dropGeneration(processor, generation);
}
