import type { Partition } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { shareOf } from '../dist/processors/fair-share.js';

const NOW = 1_000_000;
const HELD = new Date(NOW + 1000);
const EXPIRED = new Date(NOW - 1);

/** The partitions of a processor with their holders; one with an index that no worker has is that of somebody gone. */
interface Situation {
  readonly workers: readonly string[];
  readonly partitions: readonly Partition[];
}

function situations(): fc.Arbitrary<Situation> {
  return fc
    .record({
      workers: fc.integer({ min: 1, max: 9 }),
      holders: fc.array(fc.option(fc.nat(11)), { minLength: 1, maxLength: 40 }),
    })
    .map(({ workers, holders }) => ({
      workers: Array.from({ length: workers }, (_, index) => nameOf(index)),
      partitions: holders.map((holder, index) => {
        const held = holder !== null;
        const gone = held && holder >= workers;
        return {
          ...partition(index),
          ...(held && { holder: nameOf(holder), leaseExpiresAt: gone ? EXPIRED : HELD }),
        };
      }),
    }));
}

function nameOf(index: number): string {
  return `worker-${index}`;
}

function partition(index: number): Partition {
  const range = { firstSlice: index, lastSlice: index };
  return { processor: 'p', generation: 1, ...range, position: 0, ahead: [], token: 1, crashes: 0 };
}

/** The partitions as the workers take and give them up, one worker after the other or all by the same view. */
class Cluster {
  readonly workers: readonly string[];
  #holders: (string | undefined)[];
  moves = 0;

  constructor({ workers, partitions }: Situation) {
    this.workers = workers;
    this.#holders = partitions.map(({ holder, leaseExpiresAt }) =>
      leaseExpiresAt && leaseExpiresAt.getTime() > NOW ? holder : undefined,
    );
  }

  /** What everybody sees now. */
  view(): Partition[] {
    return this.#holders.map((holder, index) => ({
      ...partition(index),
      ...(holder !== undefined && { holder, leaseExpiresAt: HELD }),
    }));
  }

  /** One worker does what it should by a view, as far as others have left it the partitions. */
  act(worker: string, view: readonly Partition[]): void {
    const { acquire, release } = shareOf(view, worker, this.workers, NOW);
    const own = this.#indexesOf(worker);
    assert.isAtMost(release, own.length, 'nobody gives up what it has not');
    for (const index of own.slice(own.length - release)) this.#give(index, undefined);
    for (const { firstSlice } of acquire) {
      if (this.#holders[firstSlice] === undefined) this.#give(firstSlice, worker);
    }
  }

  /** How many each holds. */
  counts(): number[] {
    return this.workers.map((worker) => this.#indexesOf(worker).length);
  }

  get free(): number {
    return this.#holders.filter((holder) => holder === undefined).length;
  }

  #indexesOf(worker: string): number[] {
    return this.#holders.flatMap((holder, index) => (holder === worker ? [index] : []));
  }

  #give(index: number, worker: string | undefined): void {
    this.#holders[index] = worker;
    this.moves += 1;
  }
}

function assertBalanced(cluster: Cluster, partitions: number): void {
  const counts = cluster.counts();
  assert.equal(cluster.free, 0, 'nothing is free');
  assert.isAtLeast(Math.min(...counts), Math.floor(partitions / counts.length), counts.join());
  assert.isAtMost(Math.max(...counts), Math.ceil(partitions / counts.length), counts.join());
}

describe('the fair share of partitions', () => {
  it('is reached by workers who act one after the other, in any order, whatever was before; then nothing moves', () => {
    fc.assert(
      fc.property(situations(), fc.infiniteStream(fc.nat()), (situation, order) => {
        const { length } = situation.partitions;
        const cluster = new Cluster(situation);
        for (let round = 0; round < length + 2; round++) {
          for (const worker of shuffled(situation.workers, order)) cluster.act(worker, cluster.view());
        }
        assertBalanced(cluster, length);
        const before = cluster.moves;
        for (const worker of situation.workers) cluster.act(worker, cluster.view());
        assert.equal(cluster.moves, before, 'it stays');
      }),
    );
  });

  it('is reached by workers who all act by the same view, one tick old', () => {
    fc.assert(
      fc.property(situations(), fc.infiniteStream(fc.nat()), (situation, order) => {
        const { length } = situation.partitions;
        const cluster = new Cluster(situation);
        for (let round = 0; round < 2 * length + 4; round++) {
          const view = cluster.view();
          for (const worker of shuffled(situation.workers, order)) cluster.act(worker, view);
        }
        assertBalanced(cluster, length);
      }),
    );
  });

  it('is reached though those who give something up look again at once', () => {
    fc.assert(
      fc.property(situations(), fc.infiniteStream(fc.nat()), (situation, order) => {
        const { length } = situation.partitions;
        const cluster = new Cluster(situation);
        for (let round = 0; round < 2 * length + 4; round++) {
          for (const worker of shuffled(situation.workers, order)) {
            const before = cluster.moves;
            cluster.act(worker, cluster.view());
            if (cluster.moves > before) cluster.act(worker, cluster.view());
          }
        }
        assertBalanced(cluster, length);
      }),
    );
  });

  it('asks nobody to give up more than what is above its share, and moves no more than it must', () => {
    fc.assert(
      fc.property(situations(), fc.infiniteStream(fc.nat()), (situation, order) => {
        const { length } = situation.partitions;
        const cluster = new Cluster(situation);
        const least = Math.floor(length / situation.workers.length);
        const most = Math.ceil(length / situation.workers.length);
        const excess = cluster.counts().reduce((sum, count) => sum + Math.max(0, count - most), 0);
        const lack = cluster.counts().reduce((sum, count) => sum + Math.max(0, least - count), 0);
        for (const worker of situation.workers) {
          const view = cluster.view();
          const held = view.filter(({ holder }) => holder === worker).length;
          const { acquire, release } = shareOf(view, worker, situation.workers, NOW);
          assert.isAtLeast(held - release, Math.min(held, least), 'nobody falls below its least');
          assert.isAtMost(held + acquire.length, Math.max(held, most), 'nobody takes more than its most');
          assert.isTrue(acquire.length === 0 || release === 0);
        }
        const free = cluster.free;
        for (let round = 0; round < length + 2; round++) {
          for (const worker of shuffled(situation.workers, order)) cluster.act(worker, cluster.view());
        }
        // Each of those given up is taken by another; what was free is taken once.
        assert.isAtMost(cluster.moves, free + 2 * Math.max(excess, lack));
      }),
    );
  });
});

function shuffled<Item>(items: readonly Item[], order: fc.Stream<number>): Item[] {
  const left = [...items];
  const picked: Item[] = [];
  while (left.length > 0) {
    const next = order.next();
    picked.push(...left.splice(next.done === true ? 0 : next.value % left.length, 1));
  }
  return picked;
}
