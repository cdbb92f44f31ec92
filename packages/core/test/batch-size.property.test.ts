import { assert } from 'chai';
import fc from 'fast-check';
import { BatchSize } from '../dist/processors/batch-size.js';

describe('the size of batches', () => {
  it('stays between one and the most, shrinks when a batch took too long, and grows only by batches that were full', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 1, max: 10_000 }),
        fc.array(fc.record({ part: fc.double({ min: 0, max: 1, noNaN: true }), ms: fc.nat(5000) }), {
          maxLength: 40,
        }),
        async (most, first, batches) => {
          let now = 0;
          const size = new BatchSize({ now: () => now, sleep: () => Promise.resolve() }, most, first);
          assert.equal(size.size, Math.min(most, first));
          for (const { part, ms } of batches) {
            const before = size.size;
            const count = Math.max(1, Math.round(part * before));
            await size.measure(count, async () => {
              now += ms;
            });
            assert.isTrue(Number.isInteger(size.size), `${size.size} is whole`);
            assert.isAtLeast(size.size, 1);
            assert.isAtMost(size.size, most);
            if (ms > 500) assert.isAtMost(size.size, Math.max(1, Math.ceil(count / 2)));
            if (size.size > before) assert.isTrue(count >= before && ms < 250);
          }
        },
      ),
    );
  });

  it('learns nothing from work that fails', async () => {
    let now = 0;
    const size = new BatchSize({ now: () => now, sleep: () => Promise.resolve() }, 100, 10);
    const failed = size.measure(10, async () => {
      now += 10_000;
      throw new Error('no');
    });
    assert.instanceOf(await failed.catch((error: unknown) => error), Error);
    assert.equal(size.size, 10);
  });
});
