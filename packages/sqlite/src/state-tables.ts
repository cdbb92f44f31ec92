import {
  equalRanges,
  furthestProgress,
  InvalidArgumentError,
  progressOf,
  unprocessedOf,
  type EventPlace,
  type Generation,
  type SliceProgress,
  type Snapshot,
  type StateStore,
} from '@refold/core';
import type Database from 'better-sqlite3';
import { createTables, dropTables, hideCollections, showGeneration } from './collections.js';
import { DeadLetterTable } from './dead-letter-table.js';
import { InboxTables } from './inbox-tables.js';
import { PartitionTable } from './partition-table.js';
import type { Statements } from './statements.js';
import { TimerTable } from './timer-table.js';
import { UnprocessedTable } from './unprocessed-table.js';
import { WorkerTable } from './worker-table.js';

/** What a new generation is made of; see StateStore.createGeneration. */
export type NewGeneration = Parameters<StateStore['createGeneration']>[1];

interface GenerationRow {
  processor: string;
  generation: number;
  version: number;
  status: Generation['status'];
  collections: string;
  startedAfter: number;
  shadow: number;
  replayed: string;
}

/** The tables of generations and snapshots, and those of what belongs to a generation, through one connection. */
export class StateTables {
  readonly #database: Database.Database;
  readonly #statements: Statements;
  readonly partitions: PartitionTable;
  readonly letters: DeadLetterTable;
  readonly timers: TimerTable;
  readonly #inherited: UnprocessedTable;
  readonly workers: WorkerTable;
  readonly inbox: InboxTables;

  constructor(database: Database.Database, statements: Statements) {
    this.#database = database;
    this.#statements = statements;
    this.partitions = new PartitionTable(statements);
    this.letters = new DeadLetterTable(statements);
    this.timers = new TimerTable(statements);
    this.#inherited = new UnprocessedTable(statements);
    this.workers = new WorkerTable(statements);
    this.inbox = new InboxTables(statements);
  }

  generations(processor: string): Generation[] {
    const rows = this.#statements
      .objects(
        `select processor, generation, version, status, collections, started_after as startedAfter, shadow, replayed
         from refold_generations where processor = ? and status <> 'dropped' order by generation`,
      )
      .all(processor) as GenerationRow[];
    return rows.map((row) => ({
      ...row,
      collections: JSON.parse(row.collections) as string[],
      shadow: row.shadow === 1,
      replayed: JSON.parse(row.replayed) as SliceProgress[],
    }));
  }

  createGeneration(processor: string, options: NewGeneration): Generation {
    const { version, collections, fresh = false, beside = false, shadow = false } = options;
    const ranges = equalRanges(options.partitions ?? 1);
    const all = this.generations(processor);
    const live = all.find(({ status }) => status === 'live');
    if (live?.version === version && !beside && !fresh && !shadow) return live;
    const before = all.find((one) => one.status === 'building' && one.shadow === shadow);
    if (before?.version === version && !fresh && !shadow) return before;
    if (before) this.#drop(before);
    const generation: Generation = {
      processor,
      generation: this.#nextGeneration(processor),
      version,
      status: live || beside || shadow ? 'building' : 'live',
      collections: collections.map(({ name }) => name),
      startedAfter: options.after ?? 0,
      shadow,
      replayed: [],
    };
    this.#insertGeneration(generation);
    this.partitions.create(generation, ranges);
    createTables(this.#database, collections, generation.generation);
    if (generation.status === 'live') {
      showGeneration(this.#database, generation.collections, generation.generation);
    }
    return generation;
  }

  activate(processor: string, generation: number): void {
    const all = this.generations(processor);
    const next = all.find((one) => one.generation === generation && one.status === 'building' && !one.shadow);
    if (!next)
      throw new InvalidArgumentError('generation', generation, `must be one of "${processor}" being built`);
    const live = all.find(({ status }) => status === 'live');
    if (live) this.#replace(live, next);
    this.#setStatus(next, 'live');
    showGeneration(this.#database, next.collections, generation);
  }

  dropGeneration(processor: string, generation: number): void {
    const found = this.generations(processor).find((one) => one.generation === generation);
    if (!found) return;
    if (found.status === 'live')
      throw new InvalidArgumentError('generation', generation, 'must not be the live one');
    this.#drop(found);
  }

  reopenGeneration(processor: string, generation: number): Generation {
    const all = this.generations(processor);
    const retired = all.find((one) => one.generation === generation && one.status === 'retired');
    if (!retired)
      throw new InvalidArgumentError('generation', generation, `must be a retired one of "${processor}"`);
    const before = all.find(({ status, shadow }) => status === 'building' && !shadow);
    if (before) this.#drop(before);
    this.#setStatus(retired, 'building');
    return { ...retired, status: 'building' };
  }

  unprocessed(processor: string, generation: number): readonly EventPlace[] {
    const found = this.generations(processor).find((one) => one.generation === generation);
    return found ? this.#unprocessedOf(found) : [];
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

  #insertGeneration(generation: Generation): void {
    const { processor, version, status, collections, startedAfter, shadow } = generation;
    this.#statements
      .run(
        `insert into refold_generations (processor, generation, version, status, collections, started_after, shadow)
         values (?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[processor, generation.generation, version, status],
        ...[JSON.stringify(collections), startedAfter, Number(shadow)],
      );
  }

  /** Retires the live generation; the next one keeps how far it was, or what took its place before. */
  #replace(live: Generation, next: Generation): void {
    const unprocessed = this.#unprocessedOf(live);
    const replayed = furthestProgress([...live.replayed, ...progressOf(this.partitions.of(live))]);
    this.#setStatus(live, 'retired');
    this.partitions.fence(live);
    this.#inherited.put(next, unprocessed);
    this.#statements
      .run('update refold_generations set replayed = ? where processor = ? and generation = ?')
      .run(JSON.stringify(replayed), next.processor, next.generation);
    const gone = live.collections.filter((name) => !next.collections.includes(name));
    hideCollections(this.#database, gone);
  }

  #unprocessedOf(generation: Generation): readonly EventPlace[] {
    return unprocessedOf({
      generation,
      partitions: this.partitions.of(generation),
      letters: this.letters.open(generation),
      inherited: this.#inherited.of(generation),
    });
  }

  #drop(generation: Generation): void {
    dropTables(this.#database, generation.collections, generation.generation);
    this.partitions.remove(generation);
    this.letters.removeAll(generation);
    this.timers.removeAll(generation);
    this.#inherited.removeAll(generation);
    this.#setStatus(generation, 'dropped');
  }

  #setStatus({ processor, generation }: Generation, status: Generation['status'] | 'dropped'): void {
    this.#statements
      .run('update refold_generations set status = ? where processor = ? and generation = ?')
      .run(status, processor, generation);
  }
}
