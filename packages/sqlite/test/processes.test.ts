import type { RecordedEvent } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { killedAfter, runToEnd, together } from './children.js';
import { logIds, streamIds } from './expectations.js';
import { useFiles } from './files.js';

describe('several processes on one file', () => {
  const files = useFiles();

  it('give a reader that follows the log every event once and in order, while three of them write', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    let writing = true;
    const writers = together('append', file, 3).finally(() => (writing = false));
    const seen: RecordedEvent[] = [];
    const controller = new AbortController();
    const stop = writers.catch(() => {}).then(() => controller.abort());
    for (let after = 0; writing || after < (await store.head());) {
      await store.changes(after, controller.signal).catch(() => {});
      for await (const { events, through } of store.readAll({ after, batchSize: 7 }).batches()) {
        seen.push(...events);
        after = through;
      }
    }
    await stop;
    const appended = ((await writers) as string[][]).flat();
    assert.lengthOf(appended, 240);
    assert.sameMembers(
      seen.map(({ id }) => id),
      appended,
    );
    assert.deepEqual(
      seen.map(({ position }) => position),
      appended.map((_, index) => index + 1),
    );
    for (const stream of new Set(seen.map((event) => event.stream))) {
      const revisions = seen.filter((event) => event.stream === stream).map(({ revision }) => revision);
      assert.deepEqual(
        revisions,
        revisions.map((_, index) => index),
      );
    }
  });

  it('keep the order in which each of them wrote', async () => {
    const file = files.fresh();
    const told = (await together('append', file, 2)) as string[][];
    const store = await files.open(file);
    const log = await logIds(store);
    for (const ids of told) {
      assert.deepEqual(
        log.filter((id) => ids.includes(id)),
        ids,
      );
    }
  });

  it('have the effect of every message once when all of them receive it, and one is killed', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    await store.transaction(async (unit) => void unit.run('create table effects (message text) strict'));
    const killed = killedAfter(25, file, '', 'receive until killed');
    const worked = (await together('receive', file, 3)) as string[][];
    const told = await killed;
    const effects = await store.transaction(async (unit) =>
      unit.all<{ message: string }>('select message from effects').map(({ message }) => message),
    );
    assert.lengthOf(effects, 60);
    assert.lengthOf(new Set(effects), 60);
    assert.includeMembers(effects, told);
    assert.lengthOf(new Set(worked.flat()), worked.flat().length);
  });

  it('have one winner a revision when they race on one stream', async () => {
    const file = files.fresh();
    const won = (await together('race', file, 3)) as number[][];
    const all = won.flat().sort((one, other) => one - other);
    assert.deepEqual(
      all,
      Array.from({ length: 30 }, (_, index) => index),
    );
    const store = await files.open(file);
    const events = await store.readStream('order-raced').toArray();
    assert.lengthOf(events, 30);
    for (const { revision, data } of events) {
      const winner = Number((data as { name: string }).name);
      assert.isTrue(won[winner]?.includes(revision), `${winner} won revision ${revision}`);
    }
  });

  it('may open a new file at the same time: its schema is made once', async () => {
    for (let round = 0; round < 3; round++) {
      const file = files.fresh();
      const positions = (await together('open', file, 4)) as number[];
      assert.sameMembers(positions, [1, 2, 3, 4]);
      const store = await files.open(file);
      assert.equal(await store.head(), 4);
    }
  });

  it('import every item once, in order, however often the one that imports is killed', async () => {
    const file = files.fresh();
    const count = 3000;
    let acknowledged = 0;
    for (const chunks of [1, 2, 5, 3]) {
      const told = await killedAfter(chunks, file, String(count), 'import');
      assert.isAtLeast(Number(told[0]), acknowledged + 50, 'it goes on behind what was acknowledged');
      acknowledged = Number(told.at(-1));
      assert.isBelow(acknowledged, count, 'it was killed in its midst');
    }
    assert.deepEqual(await runToEnd('import', file, String(count)), { code: 0, output: '' });
    const store = await files.open(file);
    const log = await store.readAll().toArray();
    assert.deepEqual(
      log.map(({ data, stream, revision }) => [data, stream, revision]),
      log.map((_, index) => [{ index }, `order-${index % 5}`, Math.floor(index / 5)]),
    );
    assert.lengthOf(log, count);
  });

  for (const durability of ['full', 'normal']) {
    it(`lose nothing that was acknowledged when one is killed (durability '${durability}')`, async () => {
      const file = files.fresh();
      const acknowledged = await killedAfter(20, file, durability);
      assert.isAtLeast(acknowledged.length, 60);
      const store = await files.open(file);
      const log = await streamIds(store, 'order-1');
      assert.deepEqual(log.slice(0, acknowledged.length), acknowledged);
      assert.equal(log.length % 3, 0, 'no append is there in part');
      assert.equal(await store.head(), log.length);
    });
  }
});
