import { createInbox, RevisionConflictError } from '@refold/core';
import { sqliteStore, type SqliteStore } from '@refold/sqlite';
import { newEvent, newEvents, thrownBy } from './expectations.js';

/** What a child process was told to do; it answers over the channel to its parent. */
const [job, file, name] = process.argv.slice(2) as [string, string, string];

const jobs: Readonly<Record<string, () => Promise<void>>> = {
  /** Appends two events a round, half of the rounds to a stream that all children share, and tells their ids. */
  append: async () => {
    const store = await sqliteStore(file);
    await go();
    const ids: string[] = [];
    for (let round = 0; round < 40; round++) {
      const events = newEvents(2);
      await store.append(round % 2 === 0 ? 'order-shared' : `order-${name}`, events);
      ids.push(...events.map(({ id }) => id));
    }
    await store.close();
    tell(ids);
  },

  /** Tries for every revision of one stream, and tells which it won. */
  race: async () => {
    const store = await sqliteStore(file);
    await go();
    const won: number[] = [];
    for (let revision = 0; revision < 30; revision++) {
      if (await wins(store, revision)) won.push(revision);
    }
    await store.close();
    tell(won);
  },

  /** Receives the messages that its siblings receive too, and tells which of them were its own to work on. */
  receive: async () => {
    const store = await sqliteStore(file, { durability: 'normal' });
    await go();
    const worked: string[] = [];
    await receiveAll(store, (id, duplicate) => void (duplicate || worked.push(id)));
    await store.close();
    tell(worked);
  },

  /** Receives the same messages over and over, and tells of every one that is done, until it is killed. */
  'receive until killed': async () => {
    const store = await sqliteStore(file, { durability: 'normal' });
    for (;;) await receiveAll(store, (id) => tell([id]));
  },

  /** Opens the file once told to, appends one event and tells its position. */
  open: async () => {
    await go();
    const store = await sqliteStore(file);
    const { position } = await store.append(`order-${name}`, [newEvent()]);
    await store.close();
    tell(position);
  },

  /** Appends without end and tells of every append that has returned, until it is killed. */
  acknowledge: async () => {
    const store = await sqliteStore(file, { durability: name === 'normal' ? 'normal' : 'full' });
    for (;;) {
      const events = newEvents(3);
      await store.append('order-1', events);
      tell(events.map(({ id }) => id));
    }
  },

  /** Imports so many items in small chunks, and tells of every chunk that is committed. */
  import: async () => {
    const store = await sqliteStore(file);
    const item = (index: number) => ({ stream: `order-${index % 5}`, type: 'Imported', data: { index } });
    const source = function* (after: number) {
      for (let index = after; index < Number(name); index++) yield item(index);
    };
    const onProgress = ({ imported }: { imported: number }): void => tell([String(imported)]);
    await store.import('legacy', source, { batchSize: 50, onProgress });
    await store.close();
  },

  /** Uses a store in every way, closes it and ends. */
  close: async () => {
    const store = await use();
    await store.close();
    process.stdout.write('closed');
  },

  /** The same, and never closes it. */
  forget: async () => {
    await use();
    process.stdout.write('forgotten');
  },

  /** Ends its wait for changes, and with it whatever kept the process alive. */
  abort: async () => {
    const store = await use();
    const controller = new AbortController();
    const waiting = thrownBy(async () => store.changes(await store.head(), controller.signal));
    setTimeout(() => controller.abort(new Error('enough')), 30);
    await waiting;
    process.stdout.write('aborted');
  },
};

await jobs[job]?.();
if (process.connected) process.disconnect();

async function wins(store: SqliteStore, revision: number): Promise<boolean> {
  const expected = revision === 0 ? 'no-stream' : revision - 1;
  try {
    await store.append('order-raced', [newEvent({ data: { name } })], { expected });
    return true;
  } catch (error) {
    if (error instanceof RevisionConflictError) return false;
    throw error;
  }
}

async function use(): Promise<SqliteStore> {
  const store = await sqliteStore(file);
  const changed = store.changes(await store.head());
  await store.append('order-1', newEvents(2));
  await changed;
  await store.readAll().toArray();
  await store.transaction(async (unit) => unit.all('select 1'));
  return store;
}

/** Says that this process is ready, and waits until all of them are. */
function go(): Promise<void> {
  return new Promise((resolve) => {
    process.once('message', () => resolve());
    process.send?.({ ready: true });
  });
}

function tell(result: unknown): void {
  process.send?.({ result });
}

/** Puts a row into a table of the user's for each message that was not received before. */
async function receiveAll(
  store: SqliteStore,
  onDone: (id: string, duplicate: boolean) => void,
): Promise<void> {
  const inbox = createInbox(store, 'messages');
  for (let index = 0; index < 60; index++) {
    const id = `m${index}`;
    const { duplicate } = await inbox.once({ id }, async (unit) => {
      unit.run('insert into effects (message) values (?)', id);
    });
    onDone(id, duplicate);
  }
}
