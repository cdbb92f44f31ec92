import {
  InvalidArgumentError,
  SLICES,
  type Collection,
  type Failure,
  type Generation,
  type Lease,
  type Partition,
  type Snapshot,
} from '@refold/core';
import type postgres from 'postgres';
import { plainArray, textArray } from './arrays.js';
import { createTables, dropTables, hideCollections, showGeneration } from './collections.js';
import { query, type Runner, type Value } from './connection.js';
import type { Schema } from './schema.js';

interface GenerationRow {
  readonly processor: string;
  readonly generation: number;
  readonly version: number;
  readonly status: Generation['status'];
  readonly collections: string;
  readonly startedafter: string;
}

interface PartitionRow {
  readonly processor: string;
  readonly generation: number;
  readonly firstslice: number;
  readonly lastslice: number;
  readonly position: string;
  readonly token: string;
  readonly holder: string | null;
  readonly expires: Date | null;
  readonly failure: string | null;
}

/** What identifies a partition in SQL; its values are those of `partitionKey`. */
const THIS_PARTITION = 'processor = $1 and generation = $2::int and first_slice = $3::int';

/** What a new generation is made of; see StateStore.createGeneration. */
export interface NewGeneration {
  readonly version: number;
  readonly collections: readonly Collection[];
  readonly after?: number;
  readonly fresh?: boolean;
  readonly beside?: boolean;
}

/** The tables of checkpoints, leases, generations and snapshots. */
export class StateTables {
  readonly #schema: Schema;
  readonly #generations: string;
  readonly #partitions: string;
  readonly #snapshots: string;

  constructor(schema: Schema) {
    this.#schema = schema;
    this.#generations = schema.of('generations');
    this.#partitions = schema.of('partitions');
    this.#snapshots = schema.of('snapshots');
  }

  async generations(runner: Runner, processor: string): Promise<Generation[]> {
    const rows = await query<GenerationRow>(
      runner,
      `select processor, generation, version, status, to_json(collections)::text as collections, started_after as startedafter
       from ${this.#generations} where processor = $1 and status <> 'dropped' order by generation`,
      [processor],
    );
    return rows.map(({ startedafter, collections, ...row }) => ({
      ...row,
      collections: JSON.parse(collections) as string[],
      startedAfter: Number(startedafter),
    }));
  }

  async createGeneration(
    transaction: postgres.TransactionSql,
    processor: string,
    { version, collections, after = 0, fresh = false, beside = false }: NewGeneration,
  ): Promise<Generation> {
    await this.#lock(transaction, processor);
    const all = await this.generations(transaction, processor);
    const live = all.find(({ status }) => status === 'live');
    if (!beside && live?.version === version && !fresh) return live;
    const building = all.find((one) => one.status === 'building');
    if (building?.version === version && !fresh) return building;
    if (building) await this.#drop(transaction, building);
    const generation: Generation = {
      processor,
      generation: await this.#nextGeneration(transaction, processor),
      version,
      status: live || beside ? 'building' : 'live',
      collections: collections.map(({ name }) => name),
      startedAfter: after,
    };
    await this.#insert(transaction, generation);
    await createTables(transaction, this.#schema, collections, generation.generation);
    if (generation.status === 'live') {
      await showGeneration(transaction, this.#schema, generation.collections, generation.generation);
    }
    return generation;
  }

  async activate(transaction: postgres.TransactionSql, processor: string, generation: number): Promise<void> {
    await this.#lock(transaction, processor);
    const all = await this.generations(transaction, processor);
    const next = all.find((one) => one.generation === generation && one.status === 'building');
    if (!next) {
      throw new InvalidArgumentError('generation', generation, `must be one of "${processor}" being built`);
    }
    const live = all.find(({ status }) => status === 'live');
    if (live) await this.#retire(transaction, live, next);
    await this.#setStatus(transaction, next, 'live');
    await showGeneration(transaction, this.#schema, next.collections, generation);
  }

  async dropGeneration(
    transaction: postgres.TransactionSql,
    processor: string,
    generation: number,
  ): Promise<void> {
    await this.#lock(transaction, processor);
    const all = await this.generations(transaction, processor);
    const found = all.find((one) => one.generation === generation);
    if (!found) return;
    if (found.status === 'live')
      throw new InvalidArgumentError('generation', generation, 'must not be the live one');
    await this.#drop(transaction, found);
  }

  /** Partitions as the runner sees them; `locked` keeps them so until the transaction has ended. */
  async partitions(
    runner: Runner,
    of: { readonly processor?: string; readonly generation?: number; readonly locked?: boolean } = {},
  ): Promise<Partition[]> {
    const values: Value[] = [];
    const conditions: string[] = [];
    if (of.processor !== undefined) conditions.push(`processor = $${values.push(of.processor)}`);
    if (of.generation !== undefined) conditions.push(`generation = $${values.push(of.generation)}::int`);
    const rows = await query<PartitionRow>(
      runner,
      `select processor, generation, first_slice as firstslice, last_slice as lastslice, position, token, holder,
         lease_expires_at as expires, failure::text as failure
       from ${this.#partitions} ${conditions.length > 0 ? `where ${conditions.join(' and ')}` : ''}
       order by processor, generation, first_slice ${of.locked ? 'for update' : ''}`,
      values,
    );
    return rows.map(toPartition);
  }

  async acquireLease(
    runner: Runner,
    partition: Pick<Partition, 'processor' | 'generation' | 'firstSlice'>,
    { holder, ttlMs }: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined> {
    const [row] = await query<{ token: string; position: string }>(
      runner,
      `update ${this.#partitions} set token = token + 1, holder = $4,
         lease_expires_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
       where ${THIS_PARTITION} and (holder is null or holder = $4 or lease_expires_at <= clock_timestamp())
         and exists (select from ${this.#generations} g
           where g.processor = $1 and g.generation = $2::int and g.status in ('building', 'live'))
       returning token, position`,
      [...partitionKey(partition), holder, ttlMs],
    );
    const { processor, generation, firstSlice } = partition;
    return (
      row && {
        processor,
        generation,
        firstSlice,
        holder,
        token: Number(row.token),
        position: Number(row.position),
      }
    );
  }

  /** Like every write under a lease, it happens only if the lease's token is still the newest. */
  async renewLeases(runner: Runner, leases: readonly Lease[], ttlMs: number): Promise<boolean[]> {
    if (leases.length === 0) return [];
    const rows = await query<{ n: number }>(
      runner,
      `update ${this.#partitions} p set lease_expires_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
       from unnest($1::text[], $2::int[], $3::int[], $4::bigint[]) with ordinality as l(processor, generation, slice, token, n)
       where p.processor = l.processor and p.generation = l.generation and p.first_slice = l.slice
         and p.token = l.token and p.holder is not null
       returning l.n::int as n`,
      [
        textArray(leases.map(({ processor }) => processor)),
        plainArray(leases.map(({ generation }) => generation)),
        plainArray(leases.map(({ firstSlice }) => firstSlice)),
        plainArray(leases.map(({ token }) => token)),
        ttlMs,
      ],
    );
    const renewed = new Set(rows.map(({ n }) => n));
    return leases.map((_, index) => renewed.has(index + 1));
  }

  async releaseLease(runner: Runner, lease: Lease): Promise<void> {
    await this.#update(runner, lease, 'holder = null, lease_expires_at = null');
  }

  async recordFailure(runner: Runner, lease: Lease, failure: Failure | undefined): Promise<void> {
    if (failure) await this.#update(runner, lease, 'failure = $5::text::json', JSON.stringify(failure));
    else await this.#update(runner, lease, 'failure = null');
  }

  /** False if the lease was lost or the checkpoint is not where it was taken to be. */
  async advance(runner: Runner, lease: Lease, from: number, to: number): Promise<boolean> {
    const rows = await query(
      runner,
      `update ${this.#partitions} set position = $6::bigint
       where ${THIS_PARTITION} and token = $4::bigint and position = $5::bigint returning 1 as done`,
      [...partitionKey(lease), lease.token, from, to],
    );
    return rows.length === 1;
  }

  async loadSnapshot(runner: Runner, stream: string): Promise<Snapshot | undefined> {
    const [row] = await query<{ stream: string; revision: string; version: number; state: string }>(
      runner,
      `select stream, revision, version, state::text as state from ${this.#snapshots} where stream = $1`,
      [stream],
    );
    return row && { ...row, revision: Number(row.revision), state: JSON.parse(row.state) as unknown };
  }

  async saveSnapshot(
    runner: Runner,
    { stream, revision, version }: Omit<Snapshot, 'state'>,
    state: string,
  ): Promise<void> {
    await query(
      runner,
      `insert into ${this.#snapshots} as s (stream, revision, version, state) values ($1, $2::bigint, $3::int, $4::text::json)
       on conflict (stream) do update set revision = excluded.revision, version = excluded.version, state = excluded.state
       where excluded.version <> s.version or excluded.revision > s.revision`,
      [stream, revision, version, state],
    );
  }

  async deleteSnapshot(runner: Runner, stream: string): Promise<void> {
    await query(runner, `delete from ${this.#snapshots} where stream = $1`, [stream]);
  }

  /** One at a time changes the generations of a processor. */
  async #lock(transaction: Runner, processor: string): Promise<void> {
    await query(transaction, 'select pg_advisory_xact_lock(1382377071, hashtext($1))', [
      `generations ${this.#schema.name} ${processor}`,
    ]);
  }

  async #retire(transaction: postgres.TransactionSql, live: Generation, next: Generation): Promise<void> {
    await this.#setStatus(transaction, live, 'retired');
    await query(
      transaction,
      `update ${this.#partitions} set token = token + 1, holder = null, lease_expires_at = null
       where processor = $1 and generation = $2::int`,
      [live.processor, live.generation],
    );
    const gone = live.collections.filter((name) => !next.collections.includes(name));
    await hideCollections(transaction, this.#schema, gone);
  }

  async #drop(
    transaction: postgres.TransactionSql,
    { processor, generation, collections }: Generation,
  ): Promise<void> {
    // First the partitions: whoever commits for one of them right now is waited for, and comes too late afterwards.
    await query(
      transaction,
      `delete from ${this.#partitions} where processor = $1 and generation = $2::int`,
      [processor, generation],
    );
    await dropTables(transaction, this.#schema, collections, generation);
    await query(
      transaction,
      `update ${this.#generations} set status = 'dropped' where processor = $1 and generation = $2::int`,
      [processor, generation],
    );
  }

  async #setStatus(
    transaction: Runner,
    { processor, generation }: Generation,
    status: Generation['status'],
  ): Promise<void> {
    await query(
      transaction,
      `update ${this.#generations} set status = $3 where processor = $1 and generation = $2::int`,
      [processor, generation, status],
    );
  }

  /** Numbers are never used again, or a lease on a dropped generation could hold on its successor. */
  async #nextGeneration(transaction: Runner, processor: string): Promise<number> {
    const [row] = await query<{ next: number }>(
      transaction,
      `select coalesce(max(generation), 0) + 1 as next from ${this.#generations} where processor = $1`,
      [processor],
    );
    return row?.next ?? 1;
  }

  async #insert(transaction: Runner, generation: Generation): Promise<void> {
    const { processor, version, status, collections, startedAfter } = generation;
    await query(
      transaction,
      `insert into ${this.#generations} (processor, generation, version, status, collections, started_after)
       values ($1, $2::int, $3::int, $4, $5::text[], $6::bigint)`,
      [processor, generation.generation, version, status, textArray(collections), startedAfter],
    );
    await query(
      transaction,
      `insert into ${this.#partitions} (processor, generation, first_slice, last_slice, position)
       values ($1, $2::int, 0, ${SLICES - 1}, $3::bigint)`,
      [processor, generation.generation, startedAfter],
    );
  }

  async #update(runner: Runner, lease: Lease, set: string, ...values: Value[]): Promise<void> {
    const sql = `update ${this.#partitions} set ${set} where ${THIS_PARTITION} and token = $4::bigint`;
    await query(runner, sql, [...partitionKey(lease), lease.token, ...values]);
  }
}

function partitionKey({
  processor,
  generation,
  firstSlice,
}: Pick<Partition, 'processor' | 'generation' | 'firstSlice'>): [string, number, number] {
  return [processor, generation, firstSlice];
}

function toPartition({ firstslice, lastslice, holder, expires, failure, ...row }: PartitionRow): Partition {
  return {
    processor: row.processor,
    generation: row.generation,
    firstSlice: firstslice,
    lastSlice: lastslice,
    position: Number(row.position),
    token: Number(row.token),
    holder: holder ?? undefined,
    leaseExpiresAt: expires ?? undefined,
    failure: failure === null ? undefined : toFailure(failure),
  };
}

function toFailure(json: string): Failure {
  const stored = JSON.parse(json) as Omit<Failure, 'at'> & { at: string };
  return { ...stored, at: new Date(stored.at) };
}
