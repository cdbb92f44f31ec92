import { InvalidArgumentError, memoryStore, UnsupportedError } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';

/** What is particular to the memory store; all else is the conformance suites'. */
describe('memoryStore', () => {
  it('looks at 10,000 events a batch at most, so that batches of a rare type may be empty', async () => {
    const store = memoryStore();
    const many = Array.from({ length: 24_999 }, (_, data) => ({ type: 'Common', data }));
    await store.append('log-1', [...many, { type: 'Rare', data: 1 }]);
    const batches: [number, number][] = [];
    for await (const { events, through } of store.readAll({ filter: { types: ['Rare'] } }).batches()) {
      batches.push([events.length, through]);
    }
    assert.deepEqual(batches, [
      [0, 10_000],
      [0, 20_000],
      [1, 25_000],
    ]);
  });

  it('leaves the event loop its turns while a long read goes on', async () => {
    const store = memoryStore();
    await store.append(
      'log-1',
      Array.from({ length: 100 }, (_, data) => ({ type: 'Common', data })),
    );
    let turned = false;
    setImmediate(() => (turned = true));
    for await (const batch of store.readAll({ batchSize: 1 }).batches()) {
      if (batch.through === 100) assert.isTrue(turned);
    }
    assert.isTrue(turned);
  });

  it('refuses tables, which need SQL', async () => {
    const store = memoryStore();
    const error = await store
      .createGeneration('sums', { version: 1, collections: [{ name: 'sums', kind: 'table' }] })
      .catch((thrown: unknown) => thrown);
    assert.instanceOf(error, UnsupportedError);
    assert.deepEqual(await store.generations('sums'), []);
  });

  it('refuses a limit that is no number of bytes', () => {
    for (const maxEventBytes of [0, -1, 1.5, NaN]) {
      assert.throws(() => memoryStore({ maxEventBytes }), InvalidArgumentError);
    }
  });
});
