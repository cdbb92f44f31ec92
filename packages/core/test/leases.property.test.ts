import { LeaseLostError, memoryStore, type Lease, type MemoryStore, type Partition } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';

const TTL_MS = 100;
const HOLDERS = ['a', 'b', 'c'];

/** What happens to the partitions and leases; numbers pick among those that are there. */
type Action =
  | { readonly kind: 'acquire'; readonly holder: string; readonly which: number }
  | { readonly kind: 'renew' | 'release' | 'commit'; readonly which: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'split' | 'merge'; readonly which: number }
  | { readonly kind: 'pause' | 'resume' | 'swap' };

function actions(): fc.Arbitrary<Action[]> {
  const which = fc.nat(30);
  const one = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('acquire' as const),
        holder: fc.constantFrom(...HOLDERS),
        which,
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constantFrom('renew' as const, 'release' as const, 'commit' as const),
        which,
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(2 * TTL_MS) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('split' as const, 'merge' as const), which }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom('pause' as const, 'resume' as const, 'swap' as const) }),
    },
  );
  return fc.array(one, { maxLength: 40 });
}

/** A lease as the model keeps it: the newest on its slices until it is taken away. */
interface Held {
  readonly lease: Lease;
  expiresAt: number;
  released: boolean;
}

/** Holders, a store and a clock, and a model of who may commit. */
class Leases {
  #now = 1_000_000;
  readonly #store: MemoryStore = memoryStore({
    clock: { now: () => this.#now, sleep: () => Promise.resolve() },
  });
  readonly #granted: Lease[] = [];
  #newest: Held[] = [];
  #paused = false;
  #generation = 1;

  async begin(partitions: number): Promise<void> {
    await this.#store.createGeneration('p', { version: 1, collections: [], partitions });
  }

  async act(action: Action): Promise<void> {
    const own = await this.#partitions();
    const partition = 'which' in action ? own[action.which % own.length] : own[0];
    const lease = 'which' in action ? this.#granted[action.which % this.#granted.length] : undefined;
    switch (action.kind) {
      case 'acquire':
        return partition && this.#acquire(partition, action.holder);
      case 'renew':
        return lease && this.#renew(lease);
      case 'release':
        return lease && this.#release(lease);
      case 'commit':
        return lease && void (await this.#commit(lease));
      case 'wait':
        this.#now += action.ms;
        return;
      case 'split':
      case 'merge':
        return partition && this.#reshape(action.kind, partition, own);
      case 'pause':
        this.#paused = true;
        this.#newest = [];
        return this.#store.setPaused('p', true, { fence: true });
      case 'resume':
        this.#paused = false;
        return this.#store.setPaused('p', false);
      case 'swap':
        return this.#swap();
    }
  }

  /** Of all leases there ever were, those that can commit are those of the model, and no two share a slice. */
  async check(): Promise<void> {
    const able: Lease[] = [];
    for (const lease of this.#granted) if (await this.#commit(lease, { undo: true })) able.push(lease);
    assert.sameMembers(
      able.map(nameOf),
      this.#newest.map(({ lease }) => nameOf(lease)),
    );
    for (const one of able) {
      const others = able.filter((other) => other !== one && other.generation === one.generation);
      for (const other of others)
        assert.isTrue(
          one.lastSlice < other.firstSlice || other.lastSlice < one.firstSlice,
          'they share no slice',
        );
    }
  }

  async #acquire(partition: Partition, holder: string): Promise<void> {
    const held = this.#heldOn(partition);
    const free = !held || held.released || held.expiresAt <= this.#now || held.lease.holder === holder;
    const lease = await this.#store.acquireLease(partition, { holder, ttlMs: TTL_MS });
    assert.equal(lease !== undefined, free && !this.#paused, 'it is given if it is free');
    if (!lease) return;
    for (const one of this.#granted.filter((other) => sameRange(other, lease)))
      assert.isAbove(lease.token, one.token, 'tokens grow');
    this.#newest = this.#newest.filter((one) => one !== held);
    this.#newest.push({ lease, expiresAt: this.#now + TTL_MS, released: false });
    this.#granted.push(lease);
  }

  async #renew(lease: Lease): Promise<void> {
    const held = this.#newest.find((one) => one.lease === lease);
    const [renewed] = await this.#store.renewLeases([lease], TTL_MS);
    assert.equal(renewed, held !== undefined && !held.released, 'it is prolonged while it is the newest');
    if (held && renewed) held.expiresAt = this.#now + TTL_MS;
  }

  async #release(lease: Lease): Promise<void> {
    await this.#store.releaseLease(lease);
    const held = this.#newest.find((one) => one.lease === lease);
    if (held) held.released = true;
  }

  async #commit(lease: Lease, { undo = false } = {}): Promise<boolean> {
    const partition = (await this.#store.partitions('p')).find(
      (one) => one.generation === lease.generation && one.firstSlice === lease.firstSlice,
    );
    const position = partition?.position ?? 0;
    try {
      await this.#store.transaction(async (unit) => {
        await unit.advance(lease, position, position + 1);
        if (undo) throw new Undone();
      });
      return true;
    } catch (error) {
      if (error instanceof Undone) return true;
      assert.instanceOf(error, LeaseLostError);
      return false;
    }
  }

  async #reshape(kind: 'split' | 'merge', partition: Partition, own: readonly Partition[]): Promise<void> {
    const right = own.find(({ firstSlice }) => firstSlice === partition.lastSlice + 1);
    const { firstSlice, lastSlice } = partition;
    if (kind === 'split' ? firstSlice === lastSlice : !right) return;
    if (kind === 'split')
      await this.#store.splitPartition(partition, Math.ceil((firstSlice + lastSlice) / 2));
    else await this.#store.mergePartitions(partition);
    const gone = kind === 'split' ? [partition] : [partition, right];
    this.#newest = this.#newest.filter(({ lease }) => !gone.some((one) => one && sameRange(one, lease)));
  }

  async #swap(): Promise<void> {
    const { generation } = await this.#store.createGeneration('p', {
      version: 1,
      collections: [],
      fresh: true,
      beside: true,
    });
    await this.#store.transaction((unit) => unit.activate('p', generation));
    this.#generation = generation;
    this.#newest = [];
  }

  async #partitions(): Promise<Partition[]> {
    return (await this.#store.partitions('p')).filter(({ generation }) => generation === this.#generation);
  }

  #heldOn(partition: Partition): Held | undefined {
    return this.#newest.find(({ lease }) => sameRange(lease, partition));
  }
}

/** Undoes a transaction that would have been committed. */
class Undone extends Error {}

function sameRange(a: Omit<Partition, 'holder'> | Lease, b: Omit<Partition, 'holder'> | Lease): boolean {
  return a.generation === b.generation && a.firstSlice === b.firstSlice;
}

function nameOf({ generation, firstSlice, token }: Lease): string {
  return `${generation}/${firstSlice} token ${token}`;
}

describe('leases in simulated time', () => {
  it('let one holder at a time commit for a slice: the newest, until somebody else is given it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), actions(), async (partitions, all) => {
        const leases = new Leases();
        await leases.begin(partitions);
        for (const action of all) {
          await leases.act(action);
          await leases.check();
        }
      }),
      { numRuns: 300 },
    );
  });
});
