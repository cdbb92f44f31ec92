import { SLICES, type Partition, type PartitionKey, type StateStore } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { useStores, type StoreHarness } from './harness.js';
import { acquired } from './read-models.js';

/** What is done to a partition: the one at `which` of those there are, counted around. */
type Action =
  | { readonly kind: 'split'; readonly which: number; readonly at: number }
  | { readonly kind: 'merge'; readonly which: number }
  | { readonly kind: 'advance' | 'advanceAll'; readonly which: number; readonly by: number };

/** Random splits, merges and moves, compared with an array of slices. */
export function describePartitionModel(harness: StoreHarness<StateStore>): void {
  describe('partitions, compared with an array of slices', () => {
    const stores = useStores(harness);

    it('know of every slice exactly how far it is', async () => {
      const store = await stores.open();
      let run = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 5 }),
          fc.array(action(), { maxLength: 14 }),
          async (partitions, actions) => {
            const processor = `processor-${run++}`;
            const options = { version: 1, collections: [], partitions };
            const { generation } = await store.createGeneration(processor, options);
            const model = new SliceModel();
            model.compare(await store.partitions(processor));
            for (const one of actions) {
              await act(store, { processor, generation }, one, model);
              model.compare(await store.partitions(processor));
            }
          },
        ),
        { numRuns: 40 },
      );
    });
  });
}

function action(): fc.Arbitrary<Action> {
  const which = fc.nat(20);
  return fc.oneof(
    fc.record({ kind: fc.constant('split' as const), which, at: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ kind: fc.constant('merge' as const), which }),
    fc.record({ kind: fc.constantFrom('advance' as const, 'advanceAll' as const), which, by: fc.nat(4) }),
  );
}

/** How far every slice is, and the largest token that was ever good for it. */
class SliceModel {
  readonly #done = new Array<number>(SLICES).fill(0);
  readonly #tokens = new Array<number>(SLICES).fill(-1);

  advance({ firstSlice, lastSlice }: Partition, to: number): void {
    for (let slice = firstSlice; slice <= lastSlice; slice++) {
      this.#done[slice] = Math.max(this.#done[slice] ?? 0, to);
    }
  }

  /** From now on the tokens of these slices must be larger. */
  renamed({ firstSlice, lastSlice, token }: Partition): void {
    for (let slice = firstSlice; slice <= lastSlice; slice++) this.#tokens[slice] = token;
  }

  compare(partitions: readonly Partition[]): void {
    const done: number[] = [];
    for (const partition of partitions) {
      const { firstSlice, lastSlice, position, ahead, token } = partition;
      assert.equal(firstSlice, done.length, 'ranges follow each other');
      for (let slice = firstSlice; slice <= lastSlice; slice++) {
        done.push(position);
        assert.isAbove(token, this.#tokens[slice] ?? 0, `token of slice ${slice}`);
      }
      let behind = firstSlice;
      for (const range of ahead) {
        assert.isAtLeast(range.firstSlice, behind, 'what is ahead is in order, and within the range');
        assert.isAtMost(range.lastSlice, lastSlice, 'what is ahead is within the range');
        assert.isAbove(range.position, position, 'what is ahead is ahead');
        done.fill(range.position, range.firstSlice, range.lastSlice + 1);
        behind = range.lastSlice + 1;
      }
    }
    assert.deepEqual(done, this.#done);
  }
}

async function act(
  store: StateStore,
  key: Omit<PartitionKey, 'firstSlice'>,
  action: Action,
  model: SliceModel,
): Promise<void> {
  const partitions = await store.partitions(key.processor);
  const index = action.which % partitions.length;
  const partition = partitions[index] ?? assert.fail('no partition');
  const { firstSlice, lastSlice, position } = partition;
  if (action.kind === 'split') {
    if (firstSlice === lastSlice) return;
    await store.splitPartition(
      partition,
      firstSlice + 1 + Math.floor(action.at * (lastSlice - firstSlice - 1)),
    );
    model.renamed(partition);
  } else if (action.kind === 'merge') {
    const right = partitions[index + 1];
    if (!right) return;
    await store.mergePartitions(partition);
    model.renamed(partition);
    model.renamed(right);
  } else {
    const lease = await acquired(store, partition);
    const to = position + action.by;
    if (action.kind === 'advance') await store.transaction((unit) => unit.advance(lease, position, to));
    else assert.deepEqual(await store.advanceAll([{ lease, from: position, to }]), [true]);
    model.advance(partition, to);
  }
}
