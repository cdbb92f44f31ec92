import { Mutex } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Mutex', () => {
  it('lets one in at a time, in the order of asking', async () => {
    const mutex = new Mutex();
    const log: string[] = [];
    let inside = 0;
    const work = async (name: string, turns: number): Promise<string> => {
      inside += 1;
      assert.equal(inside, 1);
      log.push(name);
      for (let count = 0; count < turns; count++) await turn();
      inside -= 1;
      return name;
    };
    const results = await Promise.all([
      mutex.run(() => work('a', 3)),
      mutex.run(() => work('b', 0)),
      mutex.run(() => work('c', 1)),
    ]);
    assert.deepEqual(results, ['a', 'b', 'c']);
    assert.deepEqual(log, ['a', 'b', 'c']);
  });

  it('lets the next in after work that throws or rejects', async () => {
    const mutex = new Mutex();
    const results = await Promise.allSettled([
      mutex.run(() => {
        throw new Error('thrown');
      }),
      mutex.run(() => Promise.reject(new Error('rejected'))),
      mutex.run(() => 'through'),
    ]);
    assert.deepEqual(
      results.map((result) => (result.status === 'fulfilled' ? result.value : String(result.reason))),
      ['Error: thrown', 'Error: rejected', 'through'],
    );
  });

  it('takes in at once who asks when it is free again', async () => {
    const mutex = new Mutex();
    await mutex.run(turn);
    assert.equal(await mutex.run(() => 1), 1);
  });
});
