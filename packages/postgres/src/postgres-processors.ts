import type {
  DeadLetter,
  Failure,
  Fence,
  Lease,
  LetterQuery,
  LetterSelection,
  Move,
  Partition,
  PartitionKey,
  SliceRange,
  Steering,
  Timer,
  WorkerPresence,
} from '@refold/core';
import type postgres from 'postgres';
import type { Runner } from './connection.js';
import type { StateTables } from './state-tables.js';

/** The part of a store that keeps what processors and inboxes know. */
export abstract class PostgresProcessors {
  /** Looks at what is committed. */
  protected abstract look<Result>(
    work: (tables: StateTables, runner: Runner) => Promise<Result>,
  ): Promise<Result>;
  /** Runs one statement that writes. */
  protected abstract change<Result>(
    call: string,
    work: (tables: StateTables, runner: Runner) => Promise<Result>,
  ): Promise<Result>;
  /** Runs several statements that write, in a transaction of their own. */
  protected abstract changeTogether<Result>(
    call: string,
    work: (tables: StateTables, transaction: postgres.TransactionSql) => Promise<Result>,
  ): Promise<Result>;

  partitions(processor?: string): Promise<readonly Partition[]> {
    return this.look(({ partitions }, runner) => partitions.all(runner, processor));
  }

  acquireLease(
    partition: PartitionKey,
    options: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined> {
    return this.change('acquireLease', ({ partitions }, runner) =>
      partitions.acquire(runner, partition, options),
    );
  }

  renewLeases(leases: readonly Fence[], ttlMs: number): Promise<readonly boolean[]> {
    return this.change('renewLeases', ({ partitions }, runner) =>
      partitions.renewLeases(runner, leases, ttlMs),
    );
  }

  releaseLease(lease: Fence): Promise<void> {
    return this.change('releaseLease', ({ partitions }, runner) => partitions.releaseLease(runner, lease));
  }

  recordFailure(lease: Fence, failure: Failure | undefined): Promise<void> {
    return this.change('recordFailure', ({ partitions }, runner) =>
      partitions.recordFailure(runner, lease, failure),
    );
  }

  advanceAll(moves: readonly Move[]): Promise<readonly boolean[]> {
    return this.change('advanceAll', ({ partitions }, runner) => partitions.advanceAll(runner, moves));
  }

  beginAttempt(lease: Fence, position: number): Promise<number> {
    return this.change('beginAttempt', ({ partitions }, runner) =>
      partitions.beginAttempt(runner, lease, position),
    );
  }

  splitPartition(partition: PartitionKey, at: number): Promise<void> {
    return this.changeTogether('splitPartition', ({ structure }, transaction) =>
      structure.split(transaction, partition, at),
    );
  }

  mergePartitions(partition: PartitionKey): Promise<void> {
    return this.changeTogether('mergePartitions', ({ structure }, transaction) =>
      structure.merge(transaction, partition),
    );
  }

  setPaused(
    processor: string,
    paused: boolean,
    { fence = false }: { readonly fence?: boolean } = {},
  ): Promise<void> {
    return this.changeTogether('setPaused', ({ structure }, transaction) =>
      paused ? structure.pause(transaction, processor, fence) : structure.endPause(transaction, processor),
    );
  }

  steering(): Promise<Steering> {
    return this.look(({ structure }, runner) => structure.steering(runner));
  }

  pausedProcessors(): Promise<readonly string[]> {
    return this.look(({ structure }, runner) => structure.paused(runner));
  }

  announceWorker(worker: WorkerPresence, ttlMs: number): Promise<readonly WorkerPresence[]> {
    return this.change('announceWorker', ({ workers }, runner) => workers.announce(runner, worker, ttlMs));
  }

  withdrawWorker(name: string): Promise<void> {
    return this.change('withdrawWorker', ({ workers }, runner) => workers.withdraw(runner, name));
  }

  workers(): Promise<readonly WorkerPresence[]> {
    return this.look(({ workers }, runner) => workers.live(runner));
  }

  deadLetters(query: LetterQuery): Promise<readonly DeadLetter[]> {
    return this.look(({ letters }, runner) => letters.list(runner, query));
  }

  countDeadLetters(
    processor?: string,
  ): Promise<readonly { readonly processor: string; readonly generation: number; readonly count: number }[]> {
    return this.look(({ letters }, runner) => letters.count(runner, processor));
  }

  parkedSequences(partition: PartitionKey & SliceRange): Promise<readonly string[]> {
    return this.look(({ letters }, runner) => letters.sequences(runner, partition));
  }

  dueDeadLetters(
    partition: PartitionKey & SliceRange,
    now: Date,
    limit: number,
  ): Promise<readonly DeadLetter[]> {
    return this.look(({ letters }, runner) => letters.due(runner, partition, now, limit));
  }

  retryDeadLetters(selection: LetterSelection, at: Date): Promise<number> {
    return this.change('retryDeadLetters', ({ letters }, runner) => letters.retry(runner, selection, at));
  }

  discardDeadLetters(
    selection: LetterSelection,
    discarded: { readonly reason: string; readonly at: Date },
  ): Promise<number> {
    return this.change('discardDeadLetters', ({ letters }, runner) =>
      letters.discard(runner, selection, discarded),
    );
  }

  timers(partition: PartitionKey & SliceRange, limit: number): Promise<readonly Timer[]> {
    return this.look(({ timers }, runner) => timers.first(runner, partition, limit));
  }

  forgetReceived(
    inbox: string,
    { olderThanMs, limit }: { readonly olderThanMs: number; readonly limit: number },
  ): Promise<number> {
    return this.change('forgetReceived', (tables, runner) =>
      tables.inbox.forget(runner, inbox, olderThanMs, limit),
    );
  }
}
