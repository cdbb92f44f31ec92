import {
  equalRanges,
  furthestProgress,
  InvalidArgumentError,
  progressOf,
  unprocessedOf,
  type EventPlace,
  type Generation,
  type LiveGeneration,
  type Partition,
  type SliceProgress,
  type Snapshot,
  type StateStore,
} from '@refold/core';
import type postgres from 'postgres';
import { textArray } from './arrays.js';
import { createTables, dropTables, hideCollections, showGeneration } from './collections.js';
import { query, type Runner } from './connection.js';
import { DeadLetterTable } from './dead-letter-table.js';
import { InboxTables } from './inbox-tables.js';
import { PartitionStructure } from './partition-structure.js';
import { PartitionTable } from './partition-table.js';
import type { Schema } from './schema.js';
import { TimerTable } from './timer-table.js';
import { UnprocessedTable } from './unprocessed-table.js';
import { WorkerTable } from './worker-table.js';

interface GenerationRow {
  readonly processor: string;
  readonly generation: number;
  readonly version: number;
  readonly status: Generation['status'];
  readonly collections: string;
  readonly startedafter: string;
  readonly shadow: boolean;
  readonly replayed: string;
}

/** What a new generation is made of; see StateStore.createGeneration. */
export type NewGeneration = Parameters<StateStore['createGeneration']>[1];

/** The tables of generations and snapshots, and those of what belongs to a generation. */
export class StateTables {
  readonly #schema: Schema;
  readonly #generations: string;
  readonly #snapshots: string;
  readonly partitions: PartitionTable;
  readonly structure: PartitionStructure;
  readonly letters: DeadLetterTable;
  readonly timers: TimerTable;
  readonly #inherited: UnprocessedTable;
  readonly workers: WorkerTable;
  readonly inbox: InboxTables;

  constructor(schema: Schema) {
    this.#schema = schema;
    this.#generations = schema.of('generations');
    this.#snapshots = schema.of('snapshots');
    this.partitions = new PartitionTable(schema);
    this.structure = new PartitionStructure(schema);
    this.letters = new DeadLetterTable(schema);
    this.timers = new TimerTable(schema);
    this.#inherited = new UnprocessedTable(schema);
    this.workers = new WorkerTable(schema);
    this.inbox = new InboxTables(schema);
  }

  async generations(runner: Runner, processor: string): Promise<Generation[]> {
    const rows = await query<GenerationRow>(
      runner,
      `select processor, generation, version, status, to_json(collections)::text as collections, started_after as startedafter,
         shadow, replayed::text as replayed
       from ${this.#generations} where processor = $1 and status <> 'dropped' order by generation`,
      [processor],
    );
    return rows.map(({ startedafter, collections, replayed, ...row }) => ({
      ...row,
      collections: JSON.parse(collections) as string[],
      startedAfter: Number(startedafter),
      replayed: JSON.parse(replayed) as SliceProgress[],
    }));
  }

  async createGeneration(
    transaction: postgres.TransactionSql,
    processor: string,
    options: NewGeneration,
  ): Promise<Generation> {
    const { version, collections, fresh = false, beside = false, shadow = false } = options;
    const ranges = equalRanges(options.partitions ?? 1);
    const all = await this.#locked(transaction, processor);
    const live = all.find(({ status }) => status === 'live');
    if (live?.version === version && !beside && !fresh && !shadow) return live;
    const before = all.find((one) => one.status === 'building' && one.shadow === shadow);
    if (before?.version === version && !fresh && !shadow) return before;
    if (before) await this.#drop(transaction, before);
    const generation: Generation = {
      processor,
      generation: await this.#nextGeneration(transaction, processor),
      version,
      status: live || beside || shadow ? 'building' : 'live',
      collections: collections.map(({ name }) => name),
      startedAfter: options.after ?? 0,
      shadow,
      replayed: [],
    };
    await this.#insert(transaction, generation);
    await this.structure.create(transaction, generation, ranges);
    await createTables(transaction, this.#schema, collections, generation.generation);
    if (generation.status === 'live') {
      await showGeneration(transaction, this.#schema, generation.collections, generation.generation);
    }
    return generation;
  }

  /** Nobody else moves its checkpoints, or changes what partitions it has, before the transaction has ended. */
  async live(transaction: Runner, processor: string): Promise<LiveGeneration | undefined> {
    // Sent together: each runs when the one before has ended, and sees what that has waited for.
    const [generations, partitions] = await Promise.all([
      this.#locked(transaction, processor),
      this.structure.liveLocked(transaction, processor),
    ]);
    const generation = generations.find(({ status }) => status === 'live');
    return generation && { generation, partitions };
  }

  async activate(transaction: postgres.TransactionSql, processor: string, generation: number): Promise<void> {
    const all = await this.#locked(transaction, processor);
    const next = all.find((one) => one.generation === generation && one.status === 'building' && !one.shadow);
    if (!next) {
      throw new InvalidArgumentError('generation', generation, `must be one of "${processor}" being built`);
    }
    const live = all.find(({ status }) => status === 'live');
    if (live) await this.#replace(transaction, live, next);
    await this.#setStatus(transaction, next, 'live');
    await showGeneration(transaction, this.#schema, next.collections, generation);
  }

  async dropGeneration(
    transaction: postgres.TransactionSql,
    processor: string,
    generation: number,
  ): Promise<void> {
    const all = await this.#locked(transaction, processor);
    const found = all.find((one) => one.generation === generation);
    if (!found) return;
    if (found.status === 'live')
      throw new InvalidArgumentError('generation', generation, 'must not be the live one');
    await this.#drop(transaction, found);
  }

  async reopenGeneration(
    transaction: postgres.TransactionSql,
    processor: string,
    generation: number,
  ): Promise<Generation> {
    const all = await this.#locked(transaction, processor);
    const retired = all.find((one) => one.generation === generation && one.status === 'retired');
    if (!retired)
      throw new InvalidArgumentError('generation', generation, `must be a retired one of "${processor}"`);
    const before = all.find(({ status, shadow }) => status === 'building' && !shadow);
    if (before) await this.#drop(transaction, before);
    await this.#setStatus(transaction, retired, 'building');
    await this.structure.reopen(transaction, processor);
    return { ...retired, status: 'building' };
  }

  async unprocessed(runner: Runner, processor: string, generation: number): Promise<number[]> {
    const all = await this.generations(runner, processor);
    const found = all.find((one) => one.generation === generation);
    if (!found) return [];
    const partitions = await this.structure.of(runner, found);
    return (await this.#unprocessedOf(runner, found, partitions)).map(({ position }) => position);
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

  /** The generations of a processor; nobody else changes them before the transaction has ended. */
  async #locked(transaction: Runner, processor: string): Promise<Generation[]> {
    const [, generations] = await Promise.all([
      this.structure.lock(transaction, processor),
      this.generations(transaction, processor),
    ]);
    return generations;
  }

  /** Retires the live generation; the next one keeps how far it was, or what took its place before. */
  async #replace(transaction: postgres.TransactionSql, live: Generation, next: Generation): Promise<void> {
    await this.#setStatus(transaction, live, 'retired');
    const partitions = await this.structure.retire(transaction, live);
    await this.#inherited.put(transaction, next, await this.#unprocessedOf(transaction, live, partitions));
    const replayed = furthestProgress([...live.replayed, ...progressOf(partitions)]);
    await query(
      transaction,
      `update ${this.#generations} set replayed = $3::text::json where processor = $1 and generation = $2::int`,
      [next.processor, next.generation, JSON.stringify(replayed)],
    );
    const gone = live.collections.filter((name) => !next.collections.includes(name));
    await hideCollections(transaction, this.#schema, gone);
  }

  /** The partitions are to be read before: what is parked behind them meanwhile is not left out. */
  async #unprocessedOf(
    runner: Runner,
    generation: Generation,
    partitions: readonly Partition[],
  ): Promise<readonly EventPlace[]> {
    const inherited = await this.#inherited.of(runner, generation);
    const letters = await this.#inherited.letters(runner, generation);
    return unprocessedOf({ generation, partitions, letters, inherited });
  }

  async #drop(transaction: postgres.TransactionSql, generation: Generation): Promise<void> {
    // First the partitions: whoever commits for one of them right now is waited for, and comes too late afterwards.
    await this.structure.remove(transaction, generation);
    await this.letters.removeAll(transaction, generation);
    await this.timers.removeAll(transaction, generation);
    await this.#inherited.removeAll(transaction, generation);
    await dropTables(transaction, this.#schema, generation.collections, generation.generation);
    await this.#setStatus(transaction, generation, 'dropped');
  }

  async #setStatus(
    transaction: Runner,
    { processor, generation }: Generation,
    status: Generation['status'] | 'dropped',
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
    const { processor, version, status, collections, startedAfter, shadow } = generation;
    await query(
      transaction,
      `insert into ${this.#generations} (processor, generation, version, status, collections, started_after, shadow)
       values ($1, $2::int, $3::int, $4, $5::text[], $6::bigint, $7::boolean)`,
      [
        ...[processor, generation.generation, version, status],
        ...[textArray(collections), startedAfter, shadow],
      ],
    );
  }
}
