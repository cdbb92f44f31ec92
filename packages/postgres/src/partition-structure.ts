import {
  mergeProgress,
  noPartition,
  splitProgress,
  type Generation,
  type Partition,
  type PartitionKey,
  type SliceProgress,
  type SliceRange,
  type Steering,
} from '@refold/core';
import { plainArray } from './arrays.js';
import { query, type Runner } from './connection.js';
import {
  FENCE,
  LOCK_ORDER,
  partitionKey,
  selectPartitions,
  THIS_PARTITION,
  toPartition,
} from './partition-rows.js';
import type { Schema } from './schema.js';

/**
 * What partitions there are, and which of them are open: everything that concerns more than one row of their table. It
 * is changed under the lock of `lock`, which is taken before a row is touched, in transactions.
 */
export class PartitionStructure {
  readonly #schema: Schema;
  readonly #partitions: string;
  readonly #generations: string;
  readonly #pauses: string;
  readonly #resumes: string;

  constructor(schema: Schema) {
    this.#schema = schema;
    this.#partitions = schema.of('partitions');
    this.#generations = schema.of('generations');
    this.#pauses = schema.of('pauses');
    this.#resumes = schema.of('resumes');
  }

  /** One at a time changes the generations of a processor, what partitions they have, and whether it is paused. */
  async lock(transaction: Runner, processor: string): Promise<void> {
    await query(transaction, 'select pg_advisory_xact_lock(1382377071, hashtext($1))', [
      `generations ${this.#schema.name} ${processor}`,
    ]);
  }

  /** The partitions of a generation as they are now. */
  async of(runner: Runner, { processor, generation }: Generation): Promise<Partition[]> {
    const where = 'where processor = $1 and generation = $2::int order by first_slice';
    return (await selectPartitions(runner, this.#partitions, where, [processor, generation])).map(
      toPartition,
    );
  }

  /** The partitions of the live generation; nobody else moves them before the transaction has ended. */
  async liveLocked(transaction: Runner, processor: string): Promise<Partition[]> {
    const live = `select generation from ${this.#generations} where processor = $1 and status = 'live'`;
    const where = `where processor = $1 and generation = (${live}) ${LOCK_ORDER}`;
    return (await selectPartitions(transaction, this.#partitions, where, [processor])).map(toPartition);
  }

  async create(transaction: Runner, generation: Generation, ranges: readonly SliceRange[]): Promise<void> {
    await query(
      transaction,
      `insert into ${this.#partitions} (processor, generation, first_slice, last_slice, position, open)
       select $1, $2::int, first, last, $5::bigint, not exists (select from ${this.#pauses} where processor = $1)
       from unnest($3::int[], $4::int[]) as r(first, last)`,
      [
        ...[generation.processor, generation.generation],
        plainArray(ranges.map(({ firstSlice }) => firstSlice)),
        plainArray(ranges.map(({ lastSlice }) => lastSlice)),
        generation.startedAfter,
      ],
    );
  }

  /** Whoever commits for one of them right now is waited for, and comes too late afterwards. */
  async remove(transaction: Runner, { processor, generation }: Generation): Promise<void> {
    const all = 'where processor = $1 and generation = $2::int';
    await query(transaction, `select from ${this.#partitions} ${all} ${LOCK_ORDER}`, [processor, generation]);
    await query(transaction, `delete from ${this.#partitions} ${all}`, [processor, generation]);
  }

  async split(transaction: Runner, key: PartitionKey, at: number): Promise<void> {
    await this.lock(transaction, key.processor);
    const [whole] = await selectPartitions(
      transaction,
      this.#partitions,
      `where ${THIS_PARTITION} for update`,
      partitionKey(key),
    );
    if (!whole) throw noPartition(key, 'where a partition begins');
    const [left, right] = splitProgress(toPartition(whole), at);
    await query(
      transaction,
      `update ${this.#partitions} set last_slice = $4::int, ahead = $5::text::jsonb, ${FENCE} where ${THIS_PARTITION}`,
      [...partitionKey(key), left.lastSlice, fromAhead(left.ahead)],
    );
    // With the token that the first half has now: what the one before was good for is a range that is no more.
    await query(
      transaction,
      `insert into ${this.#partitions} (processor, generation, first_slice, last_slice, position, ahead, token, failure,
         crashes, attempts, open)
       select processor, generation, $4::int, $5::int, position, $6::text::jsonb, token, failure, crashes, attempts, open
       from ${this.#partitions} where ${THIS_PARTITION}`,
      [...partitionKey(key), right.firstSlice, right.lastSlice, fromAhead(right.ahead)],
    );
  }

  async merge(transaction: Runner, key: PartitionKey): Promise<void> {
    await this.lock(transaction, key.processor);
    const next = `(select last_slice + 1 from ${this.#partitions} where ${THIS_PARTITION})`;
    const pair = `where processor = $1 and generation = $2::int and first_slice in ($3::int, ${next}) ${LOCK_ORDER}`;
    const [left, right] = await selectPartitions(transaction, this.#partitions, pair, partitionKey(key));
    if (left?.firstslice !== key.firstSlice) throw noPartition(key, 'where a partition begins');
    if (!right) throw noPartition(key, 'where a partition with a right neighbour begins');
    const merged = mergeProgress(toPartition(left), toPartition(right));
    const rightKey = partitionKey({ ...key, firstSlice: right.firstslice });
    await query(transaction, `delete from ${this.#partitions} where ${THIS_PARTITION}`, rightKey);
    // A token greater than any that a partition with one of these slices ever had, whatever it began with.
    await query(
      transaction,
      `update ${this.#partitions} set ${FENCE.replace('token + 1', '$4::bigint')}, last_slice = $5::int,
         position = $6::bigint, ahead = $7::text::jsonb, failure = $8::text::json, crashes = $9::int,
         attempts = $10::text::jsonb
       where ${THIS_PARTITION}`,
      [
        ...[...partitionKey(key), Math.max(Number(left.token), Number(right.token)) + 1],
        ...[merged.lastSlice, merged.position, fromAhead(merged.ahead)],
        ...[left.failure ?? right.failure, Math.max(left.crashes, right.crashes)],
        mostOf(left.attempts, right.attempts),
      ],
    );
  }

  /** Takes the leases on a generation that is retired from their holders, and gives no more; returns its partitions. */
  async retire(transaction: Runner, { processor, generation }: Generation): Promise<Partition[]> {
    const all = 'where processor = $1 and generation = $2::int';
    const rows = await selectPartitions(transaction, this.#partitions, `${all} ${LOCK_ORDER}`, [
      processor,
      generation,
    ]);
    await query(transaction, `update ${this.#partitions} set ${FENCE}, open = false ${all}`, [
      processor,
      generation,
    ]);
    return rows.map(toPartition);
  }

  /** Gives leases again on partitions of a processor that is not paused, and of generations that are not retired. */
  async reopen(transaction: Runner, processor: string, also = ''): Promise<void> {
    await query(transaction, `select from ${this.#partitions} where processor = $1 ${LOCK_ORDER}`, [
      processor,
    ]);
    await query(
      transaction,
      `update ${this.#partitions} p set open = true ${also} from ${this.#generations} g
       where p.processor = $1 and g.processor = p.processor and g.generation = p.generation
         and g.status in ('building', 'live') and not exists (select from ${this.#pauses} where processor = $1)`,
      [processor],
    );
  }

  async pause(transaction: Runner, processor: string, fence: boolean): Promise<void> {
    await this.lock(transaction, processor);
    const pause = `insert into ${this.#pauses} (processor) values ($1) on conflict do nothing`;
    await query(transaction, pause, [processor]);
    await query(transaction, `select from ${this.#partitions} where processor = $1 ${LOCK_ORDER}`, [
      processor,
    ]);
    const set = fence ? `open = false, ${FENCE}` : 'open = false';
    await query(transaction, `update ${this.#partitions} set ${set} where processor = $1`, [processor]);
  }

  async endPause(transaction: Runner, processor: string): Promise<void> {
    await this.lock(transaction, processor);
    await query(transaction, `delete from ${this.#pauses} where processor = $1`, [processor]);
    await query(
      transaction,
      `insert into ${this.#resumes} as r values ($1, 1) on conflict (processor) do update set times = r.times + 1`,
      [processor],
    );
    await this.reopen(transaction, processor, ', failure = null');
  }

  /** One statement, since every worker asks all the time. */
  async steering(runner: Runner): Promise<Steering> {
    const select = `select processor, null as times from ${this.#pauses}
     union all select processor, times::text from ${this.#resumes}`;
    const rows = await query<{ processor: string; times: string | null }>(runner, select);
    return {
      paused: rows.flatMap(({ processor, times }) => (times === null ? [processor] : [])),
      resumes: new Map(
        rows.flatMap(({ processor, times }) => (times === null ? [] : [[processor, Number(times)] as const])),
      ),
    };
  }

  async paused(runner: Runner): Promise<string[]> {
    const select = `select processor from ${this.#pauses} order by processor`;
    return (await query<{ processor: string }>(runner, select)).map(({ processor }) => processor);
  }
}

function fromAhead(ahead: readonly SliceProgress[]): string | null {
  return ahead.length === 0 ? null : JSON.stringify(ahead);
}

/** The attempts of two partitions: of each position the larger count. */
function mostOf(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  const most = JSON.parse(a) as Record<string, number>;
  for (const [position, count] of Object.entries(JSON.parse(b) as Record<string, number>)) {
    most[position] = Math.max(count, most[position] ?? 0);
  }
  return JSON.stringify(most);
}
