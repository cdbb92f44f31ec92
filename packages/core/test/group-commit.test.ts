import { GroupCommit, type Settled } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';

/** Commits numbers, and keeps the groups in which they came. Each group waits until it is let through. */
function recording(options?: {
  readonly weight?: (n: number) => number;
  readonly maxWeight?: number;
  readonly sameTurn?: boolean;
}): {
  readonly groups: number[][];
  readonly commit: GroupCommit<number, string>;
  letThrough: () => void;
} {
  const groups: number[][] = [];
  const recorder = { groups, letThrough: (): void => {}, commit: new GroupCommit(record, options) };
  async function record(requests: readonly number[]): Promise<Settled<string>[]> {
    groups.push([...requests]);
    if (requests.includes(0)) await new Promise<void>((resolve) => (recorder.letThrough = resolve));
    if (requests.includes(99)) throw new Error('group failed');
    return requests.map((n) => (n < 0 ? { error: new Error(`refused ${n}`) } : { value: `done ${n}` }));
  }
  return recorder;
}

describe('GroupCommit', () => {
  it('commits together what is submitted in the same turn, in its order', async () => {
    const { commit, groups } = recording();
    assert.deepEqual(await Promise.all([3, 1, 2].map((n) => commit.submit(n))), [
      'done 3',
      'done 1',
      'done 2',
    ]);
    assert.deepEqual(groups, [[3, 1, 2]]);
  });

  it('collects what arrives while a commit is in flight into the next group', async () => {
    const recorder = recording();
    const { commit, groups } = recorder;
    const first = commit.submit(0);
    while (groups.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const others = [1, 2, 3].map((n) => commit.submit(n));
    assert.deepEqual(groups, [[0]]);
    recorder.letThrough();
    assert.equal(await first, 'done 0');
    await Promise.all(others);
    assert.deepEqual(groups, [[0], [1, 2, 3]]);
  });

  it('starts one that comes alone in the same turn if it may, and lets callers at once join each other again', async () => {
    const { commit, groups } = recording({ sameTurn: true });
    let turns = 0;
    const counting = setImmediate(function count() {
      turns += 1;
    });
    await commit.submit(1);
    await Promise.all([2, 3].map((n) => commit.submit(n)));
    assert.deepEqual([turns, groups], [0, [[1], [2, 3]]]);
    await Promise.all([4, 5].map((n) => Promise.resolve().then(() => commit.submit(n))));
    clearImmediate(counting);
    assert.deepEqual(groups, [[1], [2, 3], [4, 5]]);
  });

  it('gives every request its own outcome', async () => {
    const { commit } = recording();
    const [good, bad, another] = await Promise.allSettled([
      commit.submit(1),
      commit.submit(-2),
      commit.submit(3),
    ]);
    assert.deepInclude(good, { status: 'fulfilled', value: 'done 1' });
    assert.equal(bad?.status === 'rejected' && String(bad.reason), 'Error: refused -2');
    assert.deepInclude(another, { status: 'fulfilled', value: 'done 3' });
  });

  it('rejects a whole group whose commit rejects, and goes on with the next', async () => {
    const { commit } = recording();
    const results = await Promise.allSettled([commit.submit(99), commit.submit(1)]);
    assert.isTrue(results.every(({ status }) => status === 'rejected'));
    assert.equal(await commit.submit(2), 'done 2');
  });

  it('rejects requests for which the commit gave no outcome', async () => {
    const commit = new GroupCommit<number, number>(() => Promise.resolve([{ value: 1 }]));
    const results = await Promise.allSettled([commit.submit(1), commit.submit(2)]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
  });

  it('closes a group before it exceeds its weight, unless the first request does alone', async () => {
    const { commit, groups } = recording({ weight: (n) => n, maxWeight: 10 });
    await Promise.all([4, 6, 1, 50, 5, 5].map((n) => commit.submit(n)));
    assert.deepEqual(groups, [[4, 6], [1], [50], [5, 5]]);
  });

  it('is idle when nothing waits and nothing is in flight', async () => {
    const { commit } = recording();
    await commit.idle();
    const done: string[] = [];
    const submitted = [1, 2].map((n) => commit.submit(n).then((outcome) => done.push(outcome)));
    await commit.idle();
    await Promise.all(submitted);
    assert.lengthOf(done, 2);
    await commit.idle();
  });
});
