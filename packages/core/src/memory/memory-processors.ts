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
  ProcessorState,
  SliceRange,
  Steering,
  Timer,
  WorkerPresence,
} from '../store/processor-state.js';
import type { InboxState } from '../store/inbox-state.js';
import type { MemoryState } from './memory-state.js';

/** The part of a memory store that keeps what processors and inboxes know. */
export abstract class MemoryProcessors implements ProcessorState, InboxState {
  /** Looks at what is committed. */
  protected abstract look<Result>(work: (state: MemoryState, now: number) => Result): Promise<Result>;
  /** Writes, when those who asked before have ended. */
  protected abstract change<Result>(
    call: string,
    work: (state: MemoryState, now: number) => Result,
  ): Promise<Result>;

  partitions(processor?: string): Promise<readonly Partition[]> {
    return this.look(({ partitions }) => partitions.all(processor));
  }

  acquireLease(
    partition: PartitionKey,
    { holder, ttlMs }: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined> {
    return this.change('acquireLease', (state, now) => state.acquireLease(partition, holder, now, ttlMs));
  }

  renewLeases(leases: readonly Fence[], ttlMs: number): Promise<readonly boolean[]> {
    return this.change('renewLeases', ({ partitions }, now) =>
      leases.map((lease) => partitions.renew(lease, now + ttlMs)),
    );
  }

  releaseLease(lease: Fence): Promise<void> {
    return this.change('releaseLease', ({ partitions }) => partitions.release(lease));
  }

  recordFailure(lease: Fence, failure: Failure | undefined): Promise<void> {
    return this.change('recordFailure', ({ partitions }) => partitions.recordFailure(lease, failure));
  }

  advanceAll(moves: readonly Move[]): Promise<readonly boolean[]> {
    return this.change('advanceAll', ({ partitions }) => partitions.advanceAll(moves));
  }

  beginAttempt(lease: Fence, position: number): Promise<number> {
    return this.change('beginAttempt', ({ partitions }) => partitions.beginAttempt(lease, position));
  }

  splitPartition(partition: PartitionKey, at: number): Promise<void> {
    return this.change('splitPartition', ({ partitions }) => partitions.split(partition, at));
  }

  mergePartitions(partition: PartitionKey): Promise<void> {
    return this.change('mergePartitions', ({ partitions }) => partitions.merge(partition));
  }

  setPaused(
    processor: string,
    paused: boolean,
    { fence = false }: { readonly fence?: boolean } = {},
  ): Promise<void> {
    return this.change('setPaused', (state) => state.setPaused(processor, paused, fence));
  }

  steering(): Promise<Steering> {
    return this.look((state) => ({ paused: state.pausedProcessors(), resumes: state.resumes() }));
  }

  pausedProcessors(): Promise<readonly string[]> {
    return this.look((state) => state.pausedProcessors());
  }

  announceWorker(worker: WorkerPresence, ttlMs: number): Promise<readonly WorkerPresence[]> {
    return this.change('announceWorker', ({ workers }, now) => workers.announce(worker, now, ttlMs));
  }

  withdrawWorker(name: string): Promise<void> {
    return this.change('withdrawWorker', ({ workers }) => workers.withdraw(name));
  }

  workers(): Promise<readonly WorkerPresence[]> {
    return this.look(({ workers }, now) => workers.live(now));
  }

  deadLetters(query: LetterQuery): Promise<readonly DeadLetter[]> {
    return this.look(({ letters }) => letters.list(query));
  }

  countDeadLetters(
    processor?: string,
  ): Promise<readonly { readonly processor: string; readonly generation: number; readonly count: number }[]> {
    return this.look(({ letters }) => letters.count(processor));
  }

  parkedSequences(partition: PartitionKey & SliceRange): Promise<readonly string[]> {
    return this.look(({ letters }) => letters.sequences(partition));
  }

  dueDeadLetters(
    partition: PartitionKey & SliceRange,
    now: Date,
    limit: number,
  ): Promise<readonly DeadLetter[]> {
    return this.look(({ letters }) => letters.due(partition, now, limit));
  }

  retryDeadLetters(selection: LetterSelection, at: Date): Promise<number> {
    return this.change('retryDeadLetters', ({ letters }) => letters.retry(selection, at));
  }

  discardDeadLetters(
    selection: LetterSelection,
    discarded: { readonly reason: string; readonly at: Date },
  ): Promise<number> {
    return this.change('discardDeadLetters', ({ letters }) => letters.discard(selection, discarded));
  }

  timers(partition: PartitionKey & SliceRange, limit: number): Promise<readonly Timer[]> {
    return this.look(({ timers }) => timers.first(partition, limit));
  }

  forgetReceived(
    inbox: string,
    { olderThanMs, limit }: { readonly olderThanMs: number; readonly limit: number },
  ): Promise<number> {
    return this.change('forgetReceived', (state, now) => state.inbox.forget(inbox, now - olderThanMs, limit));
  }
}
