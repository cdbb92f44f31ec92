import type {
  Collection,
  Generation,
  Lease,
  Partition,
  PartitionKey,
  StateStore,
  StateUnit,
} from '@refold/core';
import { assert } from 'chai';

/** The processor that the suites for state stores use, and its one collection. */
export const PROCESSOR = 'counting';
export const COUNTERS = 'counters';

/** A document collection. */
export function documentsNamed(name: string): Collection {
  return { name, kind: 'documents' };
}

/** A generation of the processor: live if it is the first. */
export function createCounting(
  store: StateStore,
  options: Partial<Parameters<StateStore['createGeneration']>[1]> = {},
): Promise<Generation> {
  return store.createGeneration(PROCESSOR, {
    version: 1,
    collections: [documentsNamed(COUNTERS)],
    ...options,
  });
}

/** The partitions of a generation, in the order of their slices. */
export async function partitionsOf(
  store: StateStore,
  { processor, generation }: Pick<Generation, 'processor' | 'generation'>,
): Promise<Partition[]> {
  return (await store.partitions(processor)).filter((one) => one.generation === generation);
}

/** The one partition of a generation. */
export async function partitionOf(
  store: StateStore,
  { processor, generation }: Generation,
): Promise<Partition> {
  const [partition, ...more] = await partitionsOf(store, { processor, generation });
  assert.isEmpty(more);
  return partition ?? assert.fail(`generation ${generation} has no partition`);
}

/** A lease that outlasts the test. */
export async function acquired(
  store: StateStore,
  { processor, generation, firstSlice = 0 }: Omit<PartitionKey, 'firstSlice'> & Partial<PartitionKey>,
  holder = 'one',
): Promise<Lease> {
  const lease = await store.acquireLease({ processor, generation, firstSlice }, { holder, ttlMs: 600_000 });
  return lease ?? assert.fail(`${holder} was denied the lease`);
}

/** Moves a checkpoint in a transaction of its own. */
export function advance(store: StateStore, lease: Lease, from: number, to: number): Promise<void> {
  return store.transaction((unit) => unit.advance(lease, from, to));
}

/** Whether a lease could be renewed. */
export async function renewed(store: StateStore, lease: Lease): Promise<boolean> {
  const [held, ...more] = await store.renewLeases([lease], 6_000_000);
  assert.isEmpty(more);
  return held ?? assert.fail('no answer for the lease');
}

/** Puts documents in a transaction of their own. */
export async function put(
  store: StateStore,
  { generation }: Generation,
  documents: Readonly<Record<string, unknown>> | ReadonlyMap<string, unknown>,
): Promise<void> {
  const map = documents instanceof Map ? documents : new Map(Object.entries(documents));
  await store.transaction((unit) => unit.documents(COUNTERS, generation).putMany(map));
}

/** The documents that readers see, in their order. */
export async function visible(store: StateStore, collection = COUNTERS): Promise<[string, unknown][]> {
  const entries: [string, unknown][] = [];
  for await (const entry of store.documents(collection).entries()) entries.push(entry);
  return entries;
}

/** What a worker does with a batch: effects, then the checkpoint, in one transaction. */
export async function handleBatch(
  unit: StateUnit,
  lease: Lease,
  { from, to, document }: { readonly from: number; readonly to: number; readonly document: unknown },
): Promise<void> {
  await unit.documents(COUNTERS, lease.generation).putMany(new Map([['handled', document]]));
  await unit.advance(lease, from, to);
}
