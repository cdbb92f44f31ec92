import {
  checkMove,
  LeaseLostError,
  type Failure,
  type Fence,
  type Lease,
  type Move,
  type Partition,
  type PartitionKey,
} from '@refold/core';
import { plainArray, textArray } from './arrays.js';
import { query, type Runner, type Value } from './connection.js';
import {
  LOCK_ORDER,
  partitionKey,
  selectPartitions,
  THIS_PARTITION,
  toAhead,
  toPartition,
  type PartitionRow,
} from './partition-rows.js';
import type { Schema } from './schema.js';

/** What of `ahead` is further than the checkpoint's new position. */
const stillAhead = (position: string): string => `case when ahead is not null then (
  select jsonb_agg(range) from jsonb_array_elements(ahead) range where (range ->> 'position')::bigint > ${position}) end`;

/** The table of checkpoints and leases. What works on one partition needs its row alone. */
export class PartitionTable {
  readonly #partitions: string;

  constructor(schema: Schema) {
    this.#partitions = schema.of('partitions');
  }

  async all(runner: Runner, processor?: string): Promise<Partition[]> {
    const where = processor === undefined ? '' : 'where processor = $1';
    const values = processor === undefined ? [] : [processor];
    return (
      await selectPartitions(
        runner,
        this.#partitions,
        `${where} order by processor, generation, first_slice`,
        values,
      )
    ).map(toPartition);
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

function fenceArrays(leases: readonly Fence[]): [string, string, string, string] {
  return [
    textArray(leases.map(({ processor }) => processor)),
    plainArray(leases.map(({ generation }) => generation)),
    plainArray(leases.map(({ firstSlice }) => firstSlice)),
    plainArray(leases.map(({ token }) => token)),
  ];
}
