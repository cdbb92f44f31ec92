import {
  LeaseLostError,
  StoreBusyError,
  type Generation,
  type Lease,
  type Partition,
  type WorkerPresence,
} from '@refold/core';
import { postgresStore, type PostgresStore } from '@refold/postgres';
import { assert } from 'chai';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from './server.js';

after(stopTestDatabase);

const PROCESSOR = 'counting';
const HOLDER = { holder: 'one', ttlMs: 600_000 };

describe('whoever waits for the row of a partition', () => {
  let schema: string;
  let sql: postgres.Sql;
  let store: PostgresStore;

  beforeEach(async () => {
    schema = `locks ${randomUUID()}`;
    sql = postgres(await testDatabase(), { max: 4, onnotice: () => {} });
    store = await postgresStore(await testDatabase(), { schema });
  });
  afterEach(async () => {
    await store.close();
    await sql.unsafe(`drop schema if exists "${schema}" cascade`);
    await sql.end();
  });

  const create = (options: { version?: number; partitions?: number } = {}): Promise<Generation> =>
    store.createGeneration(PROCESSOR, { version: 1, collections: [], ...options });
  const acquire = (generation: Generation, firstSlice = 0): Promise<Lease | undefined> =>
    store.acquireLease({ ...generation, firstSlice }, HOLDER);
  const acquired = async (generation: Generation, firstSlice = 0): Promise<Lease> =>
    (await acquire(generation, firstSlice)) ?? assert.fail('the lease was denied');

  /** Until so many sessions wait for a lock. */
  const waiting = async (count: number): Promise<void> => {
    for (;;) {
      const [row] = await sql<{ waiting: number }[]>`
        select count(*)::int as waiting from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      if (row?.waiting === count) return;
      await sleep(5);
    }
  };

  /** Locks the partitions of a generation, as a transaction in flight does, until it is told to end. */
  const lockRows = async (
    { generation }: Generation,
    lastFirstSlice = 1023,
  ): Promise<() => Promise<void>> => {
    const [locked, released] = [gate(), gate()];
    const ended = sql.begin(async (transaction) => {
      await transaction.unsafe(
        `select from "${schema}".partitions where generation = ${generation} and first_slice <= ${lastFirstSlice} for update`,
      );
      locked.open();
      await released.opened;
    });
    await locked.opened;
    return async () => {
      released.open();
      await ended;
    };
  };

  it('gets no lease when its processor was paused meanwhile', async () => {
    const generation = await create();
    const release = await lockRows(generation);
    const pausing = store.setPaused(PROCESSOR, true, { fence: true });
    await waiting(1);
    // Expired or free: the database looks at the row, and has to wait for it.
    const asking = acquire(generation);
    await waiting(2);
    await release();
    await pausing;
    assert.isUndefined(await asking);
  });

  it('gets no lease when its generation was retired meanwhile', async () => {
    const one = await create();
    const two = await create({ version: 2 });
    const release = await lockRows(one);
    const activating = store.transaction((unit) => unit.activate(PROCESSOR, two.generation));
    await waiting(1);
    const asking = acquire(one);
    await waiting(2);
    await release();
    await activating;
    assert.isUndefined(await asking);
  });

  it('sees all partitions of the live generation when one was split meanwhile', async () => {
    const generation = await create();
    const release = await lockRows(generation);
    const splitting = store.splitPartition({ ...generation, firstSlice: 0 }, 512);
    await waiting(1);
    const looking = store.transaction((unit) => unit.live(PROCESSOR));
    await waiting(2);
    await release();
    await splitting;
    const partitions: readonly Partition[] = (await looking)?.partitions ?? [];
    assert.deepEqual(
      partitions.map(({ firstSlice, lastSlice }) => [firstSlice, lastSlice]),
      [
        [0, 511],
        [512, 1023],
      ],
    );
  });

  it('leaves no partition behind of a generation that was dropped while one was split', async () => {
    await create();
    const two = await create({ version: 2 });
    const release = await lockRows(two);
    const splitting = store.splitPartition({ ...two, firstSlice: 0 }, 512);
    await waiting(1);
    const dropping = store.dropGeneration(PROCESSOR, two.generation);
    await waiting(2);
    await release();
    await splitting;
    await dropping;
    assert.lengthOf(await store.partitions(PROCESSOR), 1);
  });

  it('has waited for a transaction that made sure of its lease without moving the checkpoint', async () => {
    const generation = await create();
    const lease = await acquired(generation);
    const [sure, going] = [gate(), gate()];
    const working = store.transaction(async (unit) => {
      await unit.advance(lease, 0, 0);
      sure.open();
      await going.opened;
      await unit.setTimers(generation, [
        { sequence: 'a', slice: 1, name: 'x', dueAt: new Date(0), data: null },
      ]);
    });
    await sure.opened;
    let paused = false;
    const pausing = store.setPaused(PROCESSOR, true, { fence: true }).then(() => (paused = true));
    await waiting(1);
    assert.isFalse(paused);
    going.open();
    await working;
    await pausing;
    assert.lengthOf(await store.timers({ ...generation, firstSlice: 0, lastSlice: 1023 }, 10), 1);
    const late = await store
      .transaction((unit) => unit.advance(lease, 0, 0))
      .catch((error: unknown) => error);
    assert.instanceOf(late, LeaseLostError);
  });

  it('keeps no other lease from being renewed', async () => {
    const generation = await create({ partitions: 2 });
    const leases = [await acquired(generation), await acquired(generation, 512)];
    const before = await store.partitions(PROCESSOR);
    const [moved, going] = [gate(), gate()];
    const working = store.transaction(async (unit) => {
      await unit.advance(leases[0] ?? assert.fail(), 0, 1);
      moved.open();
      await going.opened;
    });
    await moved.opened;
    const renewing = store.renewLeases(leases, 6_000_000);
    await waiting(1);
    const [first, second] = await store.partitions(PROCESSOR);
    assert.deepEqual(first?.leaseExpiresAt, before[0]?.leaseExpiresAt);
    assert.isAbove(Number(second?.leaseExpiresAt), Number(before[1]?.leaseExpiresAt));
    going.open();
    await working;
    assert.deepEqual(await renewing, [true, true]);
  });

  it('has locked none that stands behind it, in whatever order they are named', async () => {
    const generation = await create({ partitions: 2 });
    const leases = [await acquired(generation, 512), await acquired(generation)];
    const release = await lockRows(generation, 0);
    const changes = [
      store.advanceAll(leases.map((lease) => ({ lease, from: 0, to: 1 }))),
      store.renewLeases(leases, 6_000_000),
      store.setPaused(PROCESSOR, true),
    ];
    await waiting(changes.length);
    const [free] = await sql.unsafe(
      `select count(*)::int as count from (
         select from "${schema}".partitions where first_slice = 512 for update nowait) free`,
    );
    assert.equal(free?.count, 1);
    await release();
    assert.deepEqual(await Promise.all(changes), [[true, true], [true, true], undefined]);
  });

  it('is no worker that announces itself, whoever holds the rows of those that are gone', async () => {
    const worker = (name: string): WorkerPresence => ({ name, processors: [], report: null });
    await store.announceWorker(worker('gone'), 0);
    await sql.begin(async (transaction) => {
      await transaction.unsafe(`select from "${schema}".workers for update`);
      assert.deepEqual(await store.announceWorker(worker('here'), 600_000), [worker('here')]);
    });
    assert.deepEqual(await store.workers(), [worker('here')]);
  });

  it('is told that the store is busy when it and another wait for each other', async () => {
    await create();
    const two = await create({ version: 2 });
    const lease = await acquired(two);
    const [moved, going] = [gate(), gate()];
    // Without `live` first, this takes the locks in another order than whoever drops the generation.
    const swapping = store.transaction(async (unit) => {
      await unit.advance(lease, 0, 1);
      moved.open();
      await going.opened;
      await unit.activate(PROCESSOR, two.generation);
    });
    await moved.opened;
    const dropping = store.dropGeneration(PROCESSOR, two.generation);
    await waiting(1);
    going.open();
    const ended = await Promise.allSettled([swapping, dropping]);
    const errors = ended.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
    assert.isNotEmpty(errors);
    assert.isTrue(errors.some((error) => error instanceof StoreBusyError));
    // Whichever of the two was undone: what is left is whole.
    const statuses = (await store.generations(PROCESSOR)).map(({ status }) => status);
    assert.include(statuses, 'live');
    assert.lengthOf(await store.partitions(PROCESSOR), statuses.length);
  });
});

/** A promise to be resolved from outside. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}
