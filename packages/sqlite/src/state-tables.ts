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
import type Database from 'better-sqlite3';
import { createTables, dropTables, hideCollections, showGeneration } from './collections.js';
import type { Statements } from './statements.js';

interface GenerationRow {
  processor: string;
  generation: number;
  version: number;
  status: Generation['status'];
  collections: string;
  startedAfter: number;
}

interface PartitionRow {
  processor: string;
  generation: number;
  firstSlice: number;
  lastSlice: number;
  position: number;
  token: number;
  holder: string | null;
  leaseExpiresAt: number | null;
  failure: string | null;
}

const PARTITION = `select processor, generation, first_slice as firstSlice, last_slice as lastSlice, position, token,
  holder, lease_expires_at as leaseExpiresAt, failure from refold_partitions`;

/** What identifies a partition in SQL; its values are those of `partitionKey`. */
const THIS_PARTITION = 'processor = ? and generation = ? and first_slice = ?';

/** The tables of checkpoints, leases, generations and snapshots, through one connection. */
export class StateTables {
  readonly #database: Database.Database;
  readonly #statements: Statements;

  constructor(database: Database.Database, statements: Statements) {
    this.#database = database;
    this.#statements = statements;
  }

  generations(processor: string): Generation[] {
    const rows = this.#statements
      .objects(
        `select processor, generation, version, status, collections, started_after as startedAfter
         from refold_generations where processor = ? and status <> 'dropped' order by generation`,
      )
      .all(processor) as GenerationRow[];
    return rows.map((row) => ({ ...row, collections: JSON.parse(row.collections) as string[] }));
  }

  createGeneration(
    processor: string,
    {
      version,
      collections,
      after = 0,
      fresh = false,
      beside = false,
    }: {
      readonly version: number;
      readonly collections: readonly Collection[];
      readonly after?: number;
      readonly fresh?: boolean;
      readonly beside?: boolean;
    },
  ): Generation {
    const all = this.generations(processor);
    const live = all.find(({ status }) => status === 'live');
    if (!beside && live?.version === version && !fresh) return live;
    const building = all.find((one) => one.status === 'building');
    if (building?.version === version && !fresh) return building;
    if (building) this.dropGeneration(processor, building.generation);
    const generation: Generation = {
      processor,
      generation: this.#nextGeneration(processor),
      version,
      status: live || beside ? 'building' : 'live',
      collections: collections.map(({ name }) => name),
      startedAfter: after,
    };
    this.#insertGeneration(generation);
    createTables(this.#database, collections, generation.generation);
    if (generation.status === 'live') {
      showGeneration(this.#database, generation.collections, generation.generation);
    }
    return generation;
  }

  activate(processor: string, generation: number): void {
    const all = this.generations(processor);
    const next = all.find((one) => one.generation === generation && one.status === 'building');
    if (!next)
      throw new InvalidArgumentError('generation', generation, `must be one of "${processor}" being built`);
    const live = all.find(({ status }) => status === 'live');
    const set = 'update refold_generations set status = ? where processor = ? and generation = ?';
    if (live) {
      this.#statements.run(set).run('retired', processor, live.generation);
      this.#statements
        .run(
          `update refold_partitions set token = token + 1, holder = null, lease_expires_at = null
           where processor = ? and generation = ?`,
        )
        .run(processor, live.generation);
      hideCollections(
        this.#database,
        live.collections.filter((name) => !next.collections.includes(name)),
      );
    }
    this.#statements.run(set).run('live', processor, generation);
    showGeneration(this.#database, next.collections, generation);
  }

  dropGeneration(processor: string, generation: number): void {
    const found = this.generations(processor).find((one) => one.generation === generation);
    if (!found) return;
    if (found.status === 'live')
      throw new InvalidArgumentError('generation', generation, 'must not be the live one');
    dropTables(this.#database, found.collections, generation);
    this.#statements
      .run('delete from refold_partitions where processor = ? and generation = ?')
      .run(processor, generation);
    this.#statements
      .run("update refold_generations set status = 'dropped' where processor = ? and generation = ?")
      .run(processor, generation);
  }

  partitions(processor?: string): Partition[] {
    const sql = processor === undefined ? PARTITION : `${PARTITION} where processor = ?`;
    const rows = this.#statements
      .objects(`${sql} order by processor, generation, first_slice`)
      .all(...(processor === undefined ? [] : [processor])) as PartitionRow[];
    return rows.map(toPartition);
  }

  acquireLease(
    partition: Pick<Partition, 'processor' | 'generation' | 'firstSlice'>,
    holder: string,
    now: number,
    ttlMs: number,
  ): Lease | undefined {
    const row = this.#statements
      .objects(
        `update refold_partitions set token = token + 1, holder = ?, lease_expires_at = ?
         where ${THIS_PARTITION} and (holder is null or holder = ? or lease_expires_at <= ?)
           and (processor, generation) in (select processor, generation from refold_generations where status <> 'retired')
         returning token, position`,
      )
      .get(holder, Math.ceil(now + ttlMs), ...partitionKey(partition), holder, now) as
      { token: number; position: number } | undefined;
    const { processor, generation, firstSlice } = partition;
    return row && { processor, generation, firstSlice, holder, ...row };
  }

  /** Like every write under a lease, it happens only if the lease's token is still the newest. */
  renewLease(lease: Lease, expiresAt: number): boolean {
    return this.#update('lease_expires_at = ?', [Math.ceil(expiresAt)], lease, 'holder is not null');
  }

  releaseLease(lease: Lease): boolean {
    return this.#update('holder = null, lease_expires_at = null', [], lease);
  }

  recordFailure(lease: Lease, failure: Failure | undefined): boolean {
    if (failure) return this.#update('failure = ?', [JSON.stringify(failure)], lease);
    return this.#update('failure = null', [], lease, 'failure is not null');
  }

  /** False if the lease was lost or the checkpoint is not where it was taken to be. */
  advance(lease: Lease, from: number, to: number): boolean {
    const statement = this.#statements.run(
      `update refold_partitions set position = ? where ${THIS_PARTITION} and token = ? and position = ?`,
    );
    return statement.run(to, ...partitionKey(lease), lease.token, from).changes === 1;
  }

  loadSnapshot(stream: string): Snapshot | undefined {
    const row = this.#statements
      .objects('select stream, revision, version, state from refold_snapshots where stream = ?')
      .get(stream) as { stream: string; revision: number; version: number; state: string } | undefined;
    return row && { ...row, state: JSON.parse(row.state) as unknown };
  }

  saveSnapshot(stream: string, revision: number, version: number, state: string): void {
    this.#statements
      .run(
        `insert into refold_snapshots (stream, revision, version, state) values (?, ?, ?, ?)
         on conflict (stream) do update set revision = excluded.revision, version = excluded.version, state = excluded.state
         where excluded.version <> refold_snapshots.version or excluded.revision > refold_snapshots.revision`,
      )
      .run(stream, revision, version, state);
  }

  deleteSnapshot(stream: string): void {
    this.#statements.run('delete from refold_snapshots where stream = ?').run(stream);
  }

  /** Numbers are never used again, or a lease on a dropped generation could hold on its successor. */
  #nextGeneration(processor: string): number {
    const sql = 'select coalesce(max(generation), 0) + 1 from refold_generations where processor = ?';
    return Number(this.#statements.values(sql).get(processor));
  }

  #insertGeneration({ processor, generation, version, status, collections, startedAfter }: Generation): void {
    this.#statements
      .run(
        `insert into refold_generations (processor, generation, version, status, collections, started_after)
         values (?, ?, ?, ?, ?, ?)`,
      )
      .run(processor, generation, version, status, JSON.stringify(collections), startedAfter);
    this.#statements
      .run(
        `insert into refold_partitions (processor, generation, first_slice, last_slice, position)
         values (?, ?, 0, ${SLICES - 1}, ?)`,
      )
      .run(processor, generation, startedAfter);
  }

  #update(set: string, values: readonly unknown[], lease: Lease, also = 'true'): boolean {
    const statement = this.#statements.run(
      `update refold_partitions set ${set} where ${THIS_PARTITION} and token = ? and ${also}`,
    );
    return statement.run(...values, ...partitionKey(lease), lease.token).changes === 1;
  }
}

function partitionKey({
  processor,
  generation,
  firstSlice,
}: Pick<Partition, 'processor' | 'generation' | 'firstSlice'>): [string, number, number] {
  return [processor, generation, firstSlice];
}

function toPartition({ holder, leaseExpiresAt, failure, ...row }: PartitionRow): Partition {
  return {
    ...row,
    holder: holder ?? undefined,
    leaseExpiresAt: leaseExpiresAt === null ? undefined : new Date(leaseExpiresAt),
    failure: failure === null ? undefined : toFailure(failure),
  };
}

function toFailure(json: string): Failure {
  const stored = JSON.parse(json) as Omit<Failure, 'at'> & { at: string };
  return { ...stored, at: new Date(stored.at) };
}
