import { NestedTransactionError, StoreClosedError } from '@refold/core';
import { sqliteStore } from '@refold/sqlite';
import { assert } from 'chai';
import { existsSync, readdirSync } from 'node:fs';
import { describe, it } from 'mocha';
import { runToEnd } from './children.js';
import { failure, gate, logIds, newEvent, newEvents, turns } from './expectations.js';
import { useFiles } from './files.js';

describe('closing', () => {
  const files = useFiles();

  it('waits for the writes under way, whoever closes', async () => {
    const file = files.fresh();
    const store = await sqliteStore(file);
    const [begun, ended] = [gate(), gate()];
    const writing = store.transaction(async (unit) => {
      unit.run('create table notes (text text)');
      begun.open();
      await ended.opened;
      unit.run("insert into notes values ('kept')");
    });
    await begun.opened;
    const events = newEvents(2);
    const appending = Promise.all(events.map((event) => store.append('order-1', [event])));
    const saving = store.saveSnapshot({ stream: 'order-1', revision: 1, version: 1, state: {} });
    let closed = 0;
    const closing = [store.close(), store.close(), store[Symbol.asyncDispose]()].map((one) =>
      one.then(() => closed++),
    );
    await turns(20);
    assert.equal(closed, 0);
    ended.open();
    await Promise.all([writing, appending, saving, ...closing]);
    await store.close();
    const again = await files.open(file);
    assert.deepEqual(
      await logIds(again),
      events.map(({ id }) => id),
    );
    assert.equal((await again.loadSnapshot('order-1'))?.revision, 1);
    assert.deepEqual(await again.transaction(async (unit) => unit.all('select * from notes')), [
      { text: 'kept' },
    ]);
  });

  it('leaves one file, with everything in it', async () => {
    const file = files.fresh();
    const store = await sqliteStore(file);
    await store.append('order-1', newEvents(3));
    assert.isTrue(existsSync(`${file}-wal`));
    await store.close();
    assert.deepEqual(
      readdirSync(files.folder).filter((name) => files.path(name).startsWith(file)),
      [file.slice(files.folder.length + 1)],
    );
    assert.equal(
      files.connect(file, { readonly: true }).prepare('select count(*) from refold_events').pluck().get(),
      3,
    );
  });

  it('is refused inside a transaction of the store, which it would wait for', async () => {
    const store = await files.open();
    const error = await store.transaction(() =>
      failure(NestedTransactionError, 'NESTED_TRANSACTION', () => store.close()),
    );
    assert.equal(error.call, 'close');
    await store.append('order-1', [newEvent()]);
  });

  it('ends every later call with StoreClosedError', async () => {
    const store = await sqliteStore(files.fresh());
    const documents = store.documents('totals');
    const generation = store.documentsOf('totals', 1);
    const reading = store.readAll()[Symbol.asyncIterator]();
    const waiting = failure(StoreClosedError, 'STORE_CLOSED', () => store.changes(0));
    await store.close();
    await waiting;
    const lease = { processor: 'p', generation: 1, firstSlice: 0, holder: 'me', token: 1, position: 0 };
    const calls: Readonly<Record<string, () => unknown>> = {
      append: () => store.append('order-1', [newEvent()]),
      'append of nothing': () => store.append('order-1', []),
      appendAll: () => store.appendAll([{ stream: 'order-1', events: [newEvent()] }]),
      readStream: () => store.readStream('order-1').toArray(),
      readAll: () => store.readAll().toArray(),
      'a read begun before': () => reading.next(),
      head: () => store.head(),
      changes: () => store.changes(0),
      transaction: () => store.transaction(() => Promise.resolve()),
      generations: () => store.generations('p'),
      createGeneration: () => store.createGeneration('p', { version: 1, collections: [] }),
      dropGeneration: () => store.dropGeneration('p', 1),
      partitions: () => store.partitions(),
      acquireLease: () => store.acquireLease(lease, { holder: 'me', ttlMs: 1000 }),
      renewLeases: () => store.renewLeases([lease], 1000),
      releaseLease: () => store.releaseLease(lease),
      recordFailure: () => store.recordFailure(lease, undefined),
      documents: () => store.documents('totals'),
      'documents got before': () => documents.get('a'),
      documentsOf: () => store.documentsOf('totals', 1),
      'documents of a generation got before': () => generation.getMany(['a']),
      loadSnapshot: () => store.loadSnapshot('order-1'),
      saveSnapshot: () => store.saveSnapshot({ stream: 'order-1', revision: 0, version: 1, state: {} }),
      deleteSnapshot: () => store.deleteSnapshot('order-1'),
    };
    for (const call of Object.values(calls)) await failure(StoreClosedError, 'STORE_CLOSED', call);
  });

  for (const [job, title] of [
    ['close', 'lets the process end by itself'],
    ['forget', 'is not needed for the process to end, once nobody waits for changes'],
    ['abort', 'is not needed for the process to end, once a wait for changes was aborted'],
  ] as const) {
    it(title, async () => {
      const file = files.fresh();
      const { code, output } = await runToEnd(job, file);
      assert.equal(code, 0);
      assert.match(output, /^(closed|forgotten|aborted)$/);
      const store = await files.open(file);
      assert.equal(await store.head(), 2);
    });
  }
});
