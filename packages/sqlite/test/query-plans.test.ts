import { assert } from 'chai';
import Database from 'better-sqlite3';
import { after, before, describe, it } from 'mocha';
import type { SqliteStore } from '@refold/sqlite';
import { newEvent, newEvents } from './expectations.js';
import { useFiles } from './files.js';

const BY_POSITION = 'SEARCH refold_events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)';
const BY_STREAM =
  'SEARCH refold_events USING INDEX refold_events_stream (stream=? AND revision>? AND revision<?)';
const BY_ID = 'SEARCH refold_events USING INDEX refold_events_id (id=?)';
const LAST_OF_STREAM = 'SEARCH refold_events USING COVERING INDEX refold_events_stream (stream=?)';
/** `max(position)`: one step to the end of the table. */
const HEAD = 'SEARCH refold_events';
const ONE = 'SEARCH refold_events USING INTEGER PRIMARY KEY (rowid=?)';
/** The same in the archive. */
const archived = (step: string): string => step.replaceAll('refold_events', 'refold_archived_events');
const both = (...steps: string[]): string[] => [...steps, ...steps.map(archived)];
const MOVED = 'SEARCH refold_events USING INDEX refold_events_stream (stream=? AND revision<?)';
const GONE = 'SEARCH refold_events USING COVERING INDEX refold_events_stream (stream=? AND revision<?)';
const CLOSED = 'SEARCH refold_archived_streams USING PRIMARY KEY (stream=?)';

describe('the statements on the log', () => {
  const files = useFiles();
  const prepared = usePreparedSql();

  const filter = { types: ['Happened'], categories: ['order'] };
  const repeated = newEvent();
  const operations: Readonly<
    Record<string, { run: (store: SqliteStore) => Promise<unknown>; uses: string[] }>
  > = {
    'read a stream forward': { run: (store) => store.readStream('order-1').toArray(), uses: [BY_STREAM] },
    'read a stream backward': {
      run: (store) => store.readStream('order-1', { direction: 'backward', limit: 1 }).toArray(),
      uses: [BY_STREAM],
    },
    'read a stream with its archived events': {
      run: (store) => store.readStream('order-1', { archived: true }).toArray(),
      uses: both(BY_STREAM),
    },
    'read the log forward': { run: (store) => store.readAll().toArray(), uses: both(HEAD, BY_POSITION) },
    'read the log backward': {
      run: (store) => store.readAll({ direction: 'backward' }).toArray(),
      uses: both(HEAD, BY_POSITION),
    },
    'read the log forward by type': {
      run: (store) => store.readAll({ filter: { types: filter.types } }).toArray(),
      uses: both(HEAD, BY_POSITION),
    },
    'read the log forward by category': {
      run: (store) => store.readAll({ filter: { categories: filter.categories } }).toArray(),
      uses: both(HEAD, BY_POSITION),
    },
    'read the log backward by type and category': {
      run: (store) => store.readAll({ filter, direction: 'backward' }).toArray(),
      uses: both(HEAD, BY_POSITION),
    },
    'look for the head': { run: (store) => store.head(), uses: both(HEAD) },
    'wait for changes': { run: (store) => store.changes(0), uses: both(HEAD) },
    append: {
      run: (store) => store.append('order-1', newEvents(2)),
      uses: [...both(HEAD, ONE), LAST_OF_STREAM],
    },
    'append to a new stream': {
      run: (store) => store.append('order-2', newEvents(2)),
      uses: [...both(HEAD, ONE, LAST_OF_STREAM), CLOSED],
    },
    'append nothing': { run: (store) => store.append('order-1', []), uses: [...both(HEAD), LAST_OF_STREAM] },
    'repeat an append': {
      run: (store) => store.append('order-1', [repeated]),
      uses: [...both(HEAD, ONE, BY_ID), LAST_OF_STREAM],
    },
    'truncate a stream': {
      run: (store) => store.truncateStream('order-1', { before: 10 }),
      uses: [MOVED, GONE],
    },
  };

  for (const [name, { run, uses }] of Object.entries(operations)) {
    it(`find their rows by an index and scan no table: ${name}`, async () => {
      const file = files.fresh();
      const filling = await files.open(file);
      await filling.append('order-1', [repeated, ...newEvents(50)]);
      const store = await files.open(file);
      const other = files.connect(file);
      prepared.length = 0;
      await run(store);
      const steps = prepared.splice(0).flatMap((sql) => planOf(other, sql));
      assert.sameMembers([...new Set(steps.filter((step) => step.includes('refold_')))], uses);
      const scans = steps.filter((step) => step.startsWith('SCAN'));
      assert.isEmpty(scans.filter((step) => !/^SCAN (json_each|CONSTANT ROW)/.test(step)));
    });
  }
});

describe('the statements of processors and inboxes', () => {
  const files = useFiles();
  const prepared = usePreparedSql();
  const range = { processor: 'p', generation: 1, firstSlice: 0, lastSlice: 1023 };
  const partition =
    'SEARCH refold_partitions USING PRIMARY KEY (processor=? AND generation=? AND first_slice=?)';
  const firstLetters =
    'SEARCH refold_dead_letters USING INDEX refold_dead_letters_first (processor=? AND generation=? AND (slice,sequence,position)>(?,?,?))';
  const operations: Readonly<
    Record<string, { run: (store: SqliteStore) => Promise<unknown>; uses: string }>
  > = {
    'move a checkpoint': {
      run: (store) => store.advanceAll([{ lease: { ...range, token: 0 }, from: 0, to: 1 }]),
      uses: partition,
    },
    'take a lease': {
      run: (store) => store.acquireLease(range, { holder: 'one', ttlMs: 1000 }),
      uses: partition,
    },
    'renew a lease': { run: (store) => store.renewLeases([{ ...range, token: 0 }], 1000), uses: partition },
    'look for parked sequences': { run: (store) => store.parkedSequences(range), uses: firstLetters },
    'look for due letters': {
      run: (store) => store.dueDeadLetters(range, new Date(), 10),
      uses: firstLetters,
    },
    'look for due timers': {
      run: (store) => store.timers(range, 10),
      uses: 'SEARCH refold_timers USING INDEX refold_timers_due (processor=? AND generation=?)',
    },
    'forget received messages': {
      run: (store) => store.forgetReceived('i', { olderThanMs: 1, limit: 10 }),
      uses: 'SEARCH refold_received_ids USING COVERING INDEX refold_received_ids_age (inbox=? AND received_at<?)',
    },
    'forget places': {
      run: (store) => store.forgetReceived('i', { olderThanMs: 1, limit: 10 }),
      uses: 'SEARCH refold_received_sequences USING COVERING INDEX refold_received_sequences_age (inbox=? AND received_at<?)',
    },
  };

  for (const [name, { run, uses }] of Object.entries(operations)) {
    it(`find their rows by an index, in its order: ${name}`, async () => {
      const file = files.fresh();
      const store = await files.open(file);
      await store.createGeneration('p', { version: 1, collections: [] });
      const other = files.connect(file);
      prepared.length = 0;
      await run(store);
      const steps = prepared.splice(0).flatMap((sql) => planOf(other, sql));
      assert.include(steps, uses);
      assert.isEmpty(steps.filter((step) => step.includes('B-TREE')));
    });
  }
});

/** What is prepared while a test runs. To be called inside `describe`. */
function usePreparedSql(): string[] {
  const prepared: string[] = [];
  let original: PropertyDescriptor | undefined;

  before(() => {
    original = Object.getOwnPropertyDescriptor(Database.prototype, 'prepare');
    const prepare = original?.value as (this: unknown, sql: string) => unknown;
    Object.defineProperty(Database.prototype, 'prepare', {
      ...original,
      value(this: unknown, sql: string): unknown {
        prepared.push(sql);
        return prepare.call(this, sql);
      },
    });
  });
  after(() => {
    if (original) Object.defineProperty(Database.prototype, 'prepare', original);
  });
  return prepared;
}

/** What SQLite says it will do, without running it. */
function planOf(database: Database.Database, sql: string): string[] {
  if (!/^(select|insert|update|delete)/i.test(sql)) return [];
  const rows = database.prepare(`explain query plan ${sql}`).all(...blanks(sql)) as { detail: string }[];
  return rows.map(({ detail }) => detail);
}

function blanks(sql: string): null[] {
  return Array.from(sql.matchAll(/\?/g), () => null);
}
