import {
  checkMove,
  LeaseLostError,
  mergeProgress,
  noPartition,
  splitProgress,
  type Failure,
  type Fence,
  type Generation,
  type Lease,
  type Move,
  type Partition,
  type PartitionKey,
  type RangeProgress,
  type SliceProgress,
  type SliceRange,
} from '@refold/core';
import type postgres from 'postgres';
import { plainArray, textArray } from './arrays.js';
import { query, type Runner, type Value } from './connection.js';
import type { Schema } from './schema.js';

interface PartitionRow {
  readonly processor: string;
  readonly generation: number;
  readonly firstslice: number;
  readonly lastslice: number;
  readonly position: string;
  readonly ahead: string | null;
  readonly token: string;
  readonly holder: string | null;
  readonly expires: Date | null;
  readonly failure: string | null;
  readonly crashes: number;
  readonly attempts: string | null;
}

/** What identifies a partition in SQL; its values are those of `partitionKey`. */
const THIS_PARTITION = 'processor = $1 and generation = $2::int and first_slice = $3::int';

/** Whoever locks several partitions does so in this order, so that nobody waits for another in a circle. */
const LOCK_ORDER = 'order by processor, generation, first_slice for update';

/** Takes a lease from its holder: whatever carries the token that was is refused from now on. */
const FENCE = 'token = token + 1, holder = null, lease_expires_at = null';

/** What of `ahead` is further than the checkpoint's new position. */
const stillAhead = (position: string): string => `case when ahead is not null then (
  select jsonb_agg(range) from jsonb_array_elements(ahead) range where (range ->> 'position')::bigint > ${position}) end`;

/**
 * The tables of checkpoints, leases and pauses. What works on one partition needs its row alone. What changes which
 * partitions there are, or which of them are open, holds the lock of `lockStructure` before it touches a row.
 */
export class PartitionTable {
  readonly #schema: Schema;
  readonly #partitions: string;
  readonly #generations: string;
  readonly #pauses: string;

  constructor(schema: Schema) {
    this.#schema = schema;
    this.#partitions = schema.of('partitions');
    this.#generations = schema.of('generations');
    this.#pauses = schema.of('pauses');
  }

  /** One at a time changes the generations of a processor, what partitions they have, and whether it is paused. */
  async lockStructure(transaction: Runner, processor: string): Promise<void> {
    await query(transaction, 'select pg_advisory_xact_lock(1382377071, hashtext($1))', [
      `generations ${this.#schema.name} ${processor}`,
    ]);
  }

  async all(runner: Runner, processor?: string): Promise<Partition[]> {
    const where = processor === undefined ? '' : 'where processor = $1';
    const values = processor === undefined ? [] : [processor];
    return (await this.#select(runner, `${where} order by processor, generation, first_slice`, values)).map(
      toPartition,
    );
  }

  /** The partitions of the live generation; nobody else moves them before the transaction has ended. */
  async liveLocked(transaction: Runner, processor: string): Promise<Partition[]> {
    const live = `select generation from ${this.#generations} where processor = $1 and status = 'live'`;
    const where = `where processor = $1 and generation = (${live}) ${LOCK_ORDER}`;
    return (await this.#select(transaction, where, [processor])).map(toPartition);
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

  async acquire(
    runner: Runner,
    partition: PartitionKey,
    { holder, ttlMs }: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined> {
    const [row] = await query<Pick<PartitionRow, 'lastslice' | 'token' | 'position' | 'ahead' | 'crashes'>>(
      runner,
      `update ${this.#partitions} set token = token + 1, crashes = crashes + (holder is not null)::int, holder = $4,
         lease_expires_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
       where ${THIS_PARTITION} and open and (holder is null or holder = $4 or lease_expires_at <= clock_timestamp())
       returning last_slice as lastslice, token, position, ahead::text as ahead, crashes`,
      [...partitionKey(partition), holder, ttlMs],
    );
    const { processor, generation, firstSlice } = partition;
    return (
      row && {
        ...{ processor, generation, firstSlice, lastSlice: row.lastslice, holder },
        ...{ token: Number(row.token), position: Number(row.position) },
        ...{ ahead: toAhead(row.ahead), crashes: row.crashes },
      }
    );
  }

  /**
   * Like every write under a lease, it happens only if the lease's token is still the newest. Those whose rows are locked
   * by a transaction in flight come last, so that the others need not wait for it.
   */
  async renewLeases(runner: Runner, leases: readonly Fence[], ttlMs: number): Promise<boolean[]> {
    const renewed = await this.#renew(runner, leases, ttlMs, 'skip locked');
    const left = leases.filter((_, index) => !renewed.has(index));
    const late = await this.#renew(runner, left, ttlMs, '');
    const renewedLate = new Set(left.filter((_, index) => late.has(index)));
    return leases.map((lease, index) => renewed.has(index) || renewedLate.has(lease));
  }

  async releaseLease(runner: Runner, lease: Fence): Promise<void> {
    await this.#update(runner, lease, 'holder = null, lease_expires_at = null');
  }

  async recordFailure(runner: Runner, lease: Fence, failure: Failure | undefined): Promise<void> {
    if (failure) await this.#update(runner, lease, 'failure = $5::text::json', JSON.stringify(failure));
    else await this.#update(runner, lease, 'failure = null');
  }

  /**
   * False if the lease was lost or the checkpoint is not where it was taken to be. The row is locked until the
   * transaction has ended, also where the checkpoint stays: nobody can take the lease before.
   */
  async advance(runner: Runner, { lease, from, to }: Move): Promise<boolean> {
    checkMove(from, to);
    const here = `${THIS_PARTITION} and token = $4::bigint and position = $5::bigint`;
    const values = [...partitionKey(lease), lease.token, from];
    const rows =
      to === from
        ? await query(runner, `select 1 as done from ${this.#partitions} where ${here} for update`, values)
        : await query(
            runner,
            `update ${this.#partitions} set position = $6::bigint, crashes = 0, attempts = null,
               ahead = ${stillAhead('$6::bigint')}
             where ${here} returning 1 as done`,
            [...values, to],
          );
    return rows.length === 1;
  }

  async advanceAll(runner: Runner, moves: readonly Move[]): Promise<boolean[]> {
    for (const { from, to } of moves) checkMove(from, to);
    if (moves.length === 0) return [];
    const leases = moves.map(({ lease }) => lease);
    const rows = await query<{ n: number }>(
      runner,
      `with here as (
         select processor, generation, first_slice, m.target, m.n from ${this.#partitions} p
         join unnest($1::text[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[]) with ordinality
           as m(its_processor, its_generation, slice, its_token, source, target, n)
           on processor = its_processor and generation = its_generation and first_slice = slice
             and token = its_token and position = source
         ${LOCK_ORDER} of p
       )
       update ${this.#partitions} p set position = h.target, ahead = ${stillAhead('h.target')},
         crashes = case when h.target > p.position then 0 else p.crashes end,
         attempts = case when h.target > p.position then null else p.attempts end
       from here h where p.processor = h.processor and p.generation = h.generation and p.first_slice = h.first_slice
       returning h.n::int as n`,
      [
        ...fenceArrays(leases),
        plainArray(moves.map(({ from }) => from)),
        plainArray(moves.map(({ to }) => to)),
      ],
    );
    const moved = new Set(rows.map(({ n }) => n));
    return moves.map((_, index) => moved.has(index + 1));
  }

  async beginAttempt(runner: Runner, lease: Fence, position: number): Promise<number> {
    const [row] = await query<{ count: number }>(
      runner,
      `update ${this.#partitions} set attempts = coalesce(attempts, '{}')
         || jsonb_build_object($5::text, coalesce((attempts ->> $5)::int, 0) + 1)
       where ${THIS_PARTITION} and token = $4::bigint returning (attempts ->> $5)::int as count`,
      [...partitionKey(lease), lease.token, String(position)],
    );
    if (!row) throw new LeaseLostError(lease.processor, lease.token);
    return row.count;
  }

  async split(transaction: postgres.TransactionSql, key: PartitionKey, at: number): Promise<void> {
    await this.lockStructure(transaction, key.processor);
    const [whole] = await this.#select(transaction, `where ${THIS_PARTITION} for update`, partitionKey(key));
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

  async merge(transaction: postgres.TransactionSql, key: PartitionKey): Promise<void> {
    await this.lockStructure(transaction, key.processor);
    const next = `(select last_slice + 1 from ${this.#partitions} where ${THIS_PARTITION})`;
    const pair = `where processor = $1 and generation = $2::int and first_slice in ($3::int, ${next}) ${LOCK_ORDER}`;
    const [left, right] = await this.#select(transaction, pair, partitionKey(key));
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
    const rows = await this.#select(transaction, `${all} ${LOCK_ORDER}`, [processor, generation]);
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
    await this.lockStructure(transaction, processor);
    const pause = `insert into ${this.#pauses} (processor) values ($1) on conflict do nothing`;
    await query(transaction, pause, [processor]);
    await query(transaction, `select from ${this.#partitions} where processor = $1 ${LOCK_ORDER}`, [
      processor,
    ]);
    const set = fence ? `open = false, ${FENCE}` : 'open = false';
    await query(transaction, `update ${this.#partitions} set ${set} where processor = $1`, [processor]);
  }

  async endPause(transaction: Runner, processor: string): Promise<void> {
    await this.lockStructure(transaction, processor);
    await query(transaction, `delete from ${this.#pauses} where processor = $1`, [processor]);
    await this.reopen(transaction, processor, ', failure = null');
  }

  async paused(runner: Runner): Promise<string[]> {
    const select = `select processor from ${this.#pauses} order by processor`;
    return (await query<{ processor: string }>(runner, select)).map(({ processor }) => processor);
  }

  #select(runner: Runner, rest: string, values: readonly Value[]): Promise<PartitionRow[]> {
    return query<PartitionRow>(
      runner,
      `select processor, generation, first_slice as firstslice, last_slice as lastslice, position, ahead::text as ahead,
         token, holder, lease_expires_at as expires, failure::text as failure, crashes, attempts::text as attempts
       from ${this.#partitions} ${rest}`,
      values,
    );
  }

  /** The indexes of those that were renewed. */
  async #renew(
    runner: Runner,
    leases: readonly Fence[],
    ttlMs: number,
    skip: 'skip locked' | '',
  ): Promise<Set<number>> {
    if (leases.length === 0) return new Set();
    const rows = await query<{ n: number }>(
      runner,
      `with held as (
         select processor, generation, first_slice, l.n from ${this.#partitions} p
         join unnest($1::text[], $2::int[], $3::int[], $4::bigint[]) with ordinality
           as l(its_processor, its_generation, slice, its_token, n)
           on processor = its_processor and generation = its_generation and first_slice = slice and token = its_token
         where holder is not null ${LOCK_ORDER} of p ${skip}
       )
       update ${this.#partitions} p set lease_expires_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
       from held h where p.processor = h.processor and p.generation = h.generation and p.first_slice = h.first_slice
       returning h.n::int as n`,
      [...fenceArrays(leases), ttlMs],
    );
    return new Set(rows.map(({ n }) => n - 1));
  }

  async #update(runner: Runner, lease: Fence, set: string, ...values: Value[]): Promise<void> {
    const sql = `update ${this.#partitions} set ${set} where ${THIS_PARTITION} and token = $4::bigint`;
    await query(runner, sql, [...partitionKey(lease), lease.token, ...values]);
  }
}

function partitionKey({ processor, generation, firstSlice }: PartitionKey): [string, number, number] {
  return [processor, generation, firstSlice];
}

function fenceArrays(leases: readonly Fence[]): [string, string, string, string] {
  return [
    textArray(leases.map(({ processor }) => processor)),
    plainArray(leases.map(({ generation }) => generation)),
    plainArray(leases.map(({ firstSlice }) => firstSlice)),
    plainArray(leases.map(({ token }) => token)),
  ];
}

function toPartition(row: PartitionRow): Partition & RangeProgress {
  return {
    processor: row.processor,
    generation: row.generation,
    firstSlice: row.firstslice,
    lastSlice: row.lastslice,
    position: Number(row.position),
    ahead: toAhead(row.ahead),
    token: Number(row.token),
    holder: row.holder ?? undefined,
    leaseExpiresAt: row.expires ?? undefined,
    failure: row.failure === null ? undefined : toFailure(row.failure),
    crashes: row.crashes,
  };
}

function toFailure(json: string): Failure {
  const stored = JSON.parse(json) as Omit<Failure, 'at'> & { at: string };
  return { ...stored, at: new Date(stored.at) };
}

function toAhead(json: string | null): SliceProgress[] {
  return json === null ? [] : (JSON.parse(json) as SliceProgress[]);
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
