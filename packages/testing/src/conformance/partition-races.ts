import {
  InvalidArgumentError,
  LeaseLostError,
  SLICES,
  type Generation,
  type Lease,
  type StateStore,
} from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { nextTurn } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import { COUNTERS, createCounting, partitionsOf, visible } from './read-models.js';

const EVENTS = 150;

/** Workers that commit while their partitions are split and merged under them. */
export function describePartitionRaces(harness: StoreHarness<StateStore>): void {
  describe('partitions that are split and merged under their workers', () => {
    const stores = useStores(harness);

    it('leave no event out, and handle none twice', async () => {
      const store = await stores.open();
      await countUnderChange([store, store]);
    });

    itNeeds(harness, 'instances', 'leave no event out, and handle none twice on two instances', async () => {
      const store = await stores.open();
      await countUnderChange([store, await stores.another(store)]);
    });

    it("are never in each other's way when several split, merge, move and renew them at once", async () => {
      const store = await stores.open();
      const generation = await createCounting(store, { partitions: 4 });
      const all = [1, 2, 3, 4].map(async (seed) => {
        for (let round = 0; round < 15; round++) {
          await changeSomewhere(store, generation, seed * 31 + round * 7);
          const leases = await leaseAll(store, generation, `holder-${seed}`);
          await store.renewLeases(seed % 2 === 0 ? leases : leases.toReversed(), 0);
          const moves = leases.map((lease) => ({ lease, from: lease.position, to: lease.position + 1 }));
          await store.advanceAll(seed % 2 === 0 ? moves : moves.toReversed());
        }
      });
      await Promise.all(all);
      await assertWhole(store, generation);
    });
  });
}

/** Two workers and two who split and merge, until every event of an imagined log is handled. */
async function countUnderChange(instances: readonly [StateStore, StateStore]): Promise<void> {
  const [store] = instances;
  const generation = await createCounting(store, { partitions: 2 });
  const ended = { workers: false };
  const changes = instances.map(async (instance, index) => {
    for (let round = 0; !ended.workers; round++) {
      await changeSomewhere(instance, generation, index * 13 + round * 5);
      await nextTurn();
    }
  });
  const workers = instances.map((instance, index) => work(instance, generation, `worker-${index}`));
  try {
    await Promise.all(workers);
  } finally {
    ended.workers = true;
    await Promise.all(changes);
  }
  await assertWhole(store, generation);
  const counts = new Map(await visible(store));
  for (let position = 1; position <= EVENTS; position++) {
    assert.equal(counts.get(`event-${position}`), 1, `event ${position}`);
  }
}

/** The event at a position has this slice. */
function sliceAt(position: number): number {
  return (position * 389) % SLICES;
}

async function work(store: StateStore, generation: Generation, holder: string): Promise<void> {
  for (;;) {
    await nextTurn();
    const partitions = await partitionsOf(store, generation);
    if (partitions.every(({ position }) => position === EVENTS)) return;
    for (const partition of partitions) {
      if (partition.position === EVENTS) continue;
      const lease = await store.acquireLease(partition, { holder, ttlMs: 0 });
      if (lease) await handleSome(store, lease).catch(ignoreLost);
    }
  }
}

/** Two batches under one lease, unless it is lost before. */
async function handleSome(store: StateStore, lease: Lease): Promise<void> {
  let from = lease.position;
  for (let batch = 0; batch < 2 && from < EVENTS; batch++) {
    const to = Math.min(EVENTS, from + 4);
    await store.transaction(async (unit) => {
      const documents = unit.documents(COUNTERS, lease.generation);
      const keys = eventsOf(lease, from, to).map((position) => `event-${position}`);
      const counted = await documents.getMany(keys);
      await documents.putMany(new Map(keys.map((key) => [key, Number(counted.get(key) ?? 0) + 1])));
      await unit.advance(lease, from, to);
    });
    from = to;
  }
}

/** What a reader of the log hands to a partition: what lies in its range, and is not ahead. */
function eventsOf(lease: Lease, from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + 1 + index).filter((position) => {
    const slice = sliceAt(position);
    const isIn = (range: { firstSlice: number; lastSlice: number }): boolean =>
      range.firstSlice <= slice && slice <= range.lastSlice;
    return isIn(lease) && !lease.ahead.some((range) => isIn(range) && position <= range.position);
  });
}

/** Splits a partition or merges two; that others did the same first is no error. */
async function changeSomewhere(store: StateStore, generation: Generation, seed: number): Promise<void> {
  const partitions = await partitionsOf(store, generation);
  const one = partitions[seed % partitions.length] ?? assert.fail('no partition');
  const middle = Math.ceil((one.firstSlice + one.lastSlice) / 2);
  const changed =
    partitions.length < 3 || (seed % 2 === 0 && partitions.length < 8 && middle > one.firstSlice)
      ? store.splitPartition(one, middle)
      : store.mergePartitions(one);
  await changed.catch((error: unknown) => {
    if (!(error instanceof InvalidArgumentError)) throw error;
  });
}

async function leaseAll(store: StateStore, generation: Generation, holder: string): Promise<Lease[]> {
  const leases: Lease[] = [];
  for (const partition of await partitionsOf(store, generation)) {
    const lease = await store.acquireLease(partition, { holder, ttlMs: 0 });
    if (lease) leases.push(lease);
  }
  return leases;
}

/** Every slice belongs to one partition. */
async function assertWhole(store: StateStore, generation: Generation): Promise<void> {
  let next = 0;
  for (const { firstSlice, lastSlice } of await partitionsOf(store, generation)) {
    assert.equal(firstSlice, next);
    next = lastSlice + 1;
  }
  assert.equal(next, SLICES);
}

function ignoreLost(error: unknown): void {
  if (!(error instanceof LeaseLostError)) throw error;
}
