import type { FailedEvent } from '../errors.js';

/** A range of slices, both ends inclusive, of 0 to 1023. */
export interface SliceRange {
  readonly firstSlice: number;
  readonly lastSlice: number;
}

/** How far a range of slices is. */
export interface SliceProgress extends SliceRange {
  readonly position: number;
}

/** What names a partition. */
export interface PartitionKey {
  readonly processor: string;
  readonly generation: number;
  readonly firstSlice: number;
}

/** A range of slices of one generation, with its checkpoint and its lease. */
export interface Partition extends PartitionKey, SliceRange {
  /** The checkpoint: everything up to this position is done. */
  readonly position: number;
  /** Parts of the range that are further than the checkpoint, since partitions were merged; empty most of the time. */
  readonly ahead: readonly SliceProgress[];
  /** The fencing token of the newest lease; 0 before the first. */
  readonly token: number;
  /** Who holds it, absent when it is free. An expired lease still names its holder until another takes it. */
  readonly holder?: string;
  readonly leaseExpiresAt?: Date;
  /** Why it stopped, absent while all is well. */
  readonly failure?: Failure;
  /** How many holders in a row were gone without giving the lease back and without having moved the checkpoint. */
  readonly crashes: number;
}

/** Why a processor stopped, as its state keeps it. */
export interface Failure {
  readonly message: string;
  readonly event?: FailedEvent;
  readonly at: Date;
}

/** A timed, fenced hold on a partition, with what the partition was when the lease was taken. */
export interface Lease extends PartitionKey, SliceRange {
  readonly holder: string;
  /** Greater than the token of every earlier lease on this partition. */
  readonly token: number;
  /** The checkpoint when the lease was taken. */
  readonly position: number;
  /** See Partition. */
  readonly ahead: readonly SliceProgress[];
  /** See Partition; this lease's own taking over is counted. */
  readonly crashes: number;
}

/** What is needed to write under a lease: whose it is, and its token. */
export type Fence = PartitionKey & Pick<Lease, 'token'>;

/** A checkpoint's move: it happens if the lease still holds and the checkpoint is at `from`. */
export interface Move {
  readonly lease: Fence;
  readonly from: number;
  readonly to: number;
}

/** A worker as other workers see it. */
export interface WorkerPresence {
  readonly name: string;
  /** The processors whose partitions it would hold. */
  readonly processors: readonly string[];
  /** What it says of its work, JSON. */
  readonly report: unknown;
}

/** An event that a processor could not handle, or that waits behind one. */
export interface DeadLetter {
  readonly processor: string;
  readonly generation: number;
  /** The event's position; with processor and generation it names the letter. */
  readonly position: number;
  readonly sequence: string;
  readonly slice: number;
  readonly event: FailedEvent;
  /** Why it failed; absent for one that only waits behind an earlier letter of its sequence. */
  readonly error?: LetterError;
  /** How often it was tried; 0 for one that only waits. */
  readonly attempts: number;
  /** How often of these after it was parked. */
  readonly retries: number;
  readonly parkedAt: Date;
  readonly lastAttemptAt?: Date;
  /** When it is tried again, if it is the first of its sequence; absent: on command. One that was never tried is due at once. */
  readonly retryAt?: Date;
  /** Set when it was given up: it holds nothing back and is kept to be looked at. */
  readonly discarded?: { readonly reason: string; readonly at: Date };
}

/** What went wrong, as a dead letter keeps it. */
export interface LetterError {
  readonly message: string;
  readonly name?: string;
  readonly stack?: string;
}

/** Which dead letters are meant. */
export interface LetterSelection {
  readonly processor: string;
  readonly generation: number;
  readonly sequence?: string;
  readonly position?: number;
}

/** Which dead letters are listed, in the order of their positions. */
export interface LetterQuery extends LetterSelection {
  /** Only those that were discarded, or only those that were not (the default). */
  readonly discarded?: boolean;
  /** Those behind this position. Default 0. */
  readonly after?: number;
  /** At most so many. Default 100. */
  readonly limit?: number;
}

/** Something that a process manager is to be reminded of. */
export interface Timer {
  readonly sequence: string;
  readonly slice: number;
  /** Names it within its sequence: scheduling the same name again replaces it. */
  readonly name: string;
  readonly dueAt: Date;
  /** JSON. */
  readonly data: unknown;
}

/** What processors were told: to pause, and to go on. */
export interface Steering {
  /** The names of those that are paused. */
  readonly paused: readonly string[];
  /** How often each was told to go on, whether it was paused or not; those that never were are left out. */
  readonly resumes: ReadonlyMap<string, number>;
}

/**
 * What processors keep beside their read models: checkpoints, leases, dead letters, timers, and who works on what.
 * Whatever carries a lease's token is done only while that token is the newest of its partition.
 */
export interface ProcessorState {
  /** The partitions of one processor, or of all, with checkpoints and leases as they are now. */
  partitions(processor?: string): Promise<readonly Partition[]>;
  /**
   * Takes a lease if the partition is free, expired, or already this holder's, with a new token each time; undefined if
   * another holds it, if the processor is paused, or if the generation is retired or gone. Taking over from a holder that
   * did not give it back adds one to `crashes`.
   */
  acquireLease(
    partition: PartitionKey,
    options: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined>;
  /** Prolongs leases, all in one step; false for each that was lost. The answers are in the order of the leases. */
  renewLeases(leases: readonly Fence[], ttlMs: number): Promise<readonly boolean[]>;
  /** Gives a lease back; one that was lost is no error. */
  releaseLease(lease: Fence): Promise<void>;
  /** Records why a partition stopped, or with `undefined` that it goes on. A lost lease records nothing. */
  recordFailure(lease: Fence, failure: Failure | undefined): Promise<void>;
  /**
   * Moves checkpoints that nothing else has to be written with, all in one step; false for each whose lease was lost or
   * whose checkpoint is elsewhere. Like `StateUnit.advance` it sets `crashes` to 0 and drops what is no longer ahead. It
   * takes one move a partition. @throws InvalidArgumentError for a move back, and then none happens
   */
  advanceAll(moves: readonly Move[]): Promise<readonly boolean[]>;
  /**
   * Notes, before an event is tried that may have killed its process, that it is: returns how often it was begun, with
   * this time. Each position is counted by itself; all are forgotten when the checkpoint moves. @throws LeaseLostError
   */
  beginAttempt(lease: Fence, position: number): Promise<number>;

  /**
   * Cuts a partition in two: `at` is the first slice of the second. Both are where the one was, with its failure, crashes
   * and attempts; leases on it are lost.
   * @throws InvalidArgumentError if there is no such partition or `at` does not lie inside it
   */
  splitPartition(partition: PartitionKey, at: number): Promise<void>;
  /**
   * Makes one of a partition and its right neighbour: its checkpoint is the lower of the two, and what was further is
   * kept as `ahead`, so that no event is handled twice. Leases on both are lost. The token is greater than both were, and
   * so than that of any partition which ever had one of these slices. A failure of either is kept, and the larger count
   * of crashes and of attempts at each position.
   * @throws InvalidArgumentError if there is no such partition or it is the last
   */
  mergePartitions(partition: PartitionKey): Promise<void>;

  /**
   * Pauses a processor, or ends the pause: while it lasts nobody gets a lease on it. `fence` also takes its leases from
   * their holders, so that nothing of what they have in hand is committed. Ending the pause forgets failures.
   */
  setPaused(processor: string, paused: boolean, options?: { readonly fence?: boolean }): Promise<void>;
  /** What processors were told, all in one look. */
  steering(): Promise<Steering>;
  /** The names of the processors that are paused. */
  pausedProcessors(): Promise<readonly string[]>;

  /** Registers a worker for `ttlMs`, or prolongs that; returns every live worker, this one among them, by name. */
  announceWorker(worker: WorkerPresence, ttlMs: number): Promise<readonly WorkerPresence[]>;
  /** Takes a worker from the list at once. */
  withdrawWorker(name: string): Promise<void>;
  /** The live workers, by name. */
  workers(): Promise<readonly WorkerPresence[]>;

  deadLetters(query: LetterQuery): Promise<readonly DeadLetter[]>;
  /** How many letters hold something back (those discarded do not), by processor and generation. */
  countDeadLetters(
    processor?: string,
  ): Promise<readonly { readonly processor: string; readonly generation: number; readonly count: number }[]>;
  /** The sequences with letters that hold them back, within a partition's range, in no promised order. */
  parkedSequences(partition: PartitionKey & SliceRange): Promise<readonly string[]>;
  /**
   * The first letters of their sequences that are to be tried by now, within a partition's range, the earliest positions
   * first: one that was never tried, or whose `retryAt` has come.
   */
  dueDeadLetters(
    partition: PartitionKey & SliceRange,
    now: Date,
    limit: number,
  ): Promise<readonly DeadLetter[]>;
  /**
   * Makes letters due at a time: of each sequence that has a selected letter, the first one, which may be another. Returns
   * how many.
   */
  retryDeadLetters(selection: LetterSelection, at: Date): Promise<number>;
  /** Gives up the selected letters: what waits behind them goes on. Returns how many. */
  discardDeadLetters(
    selection: LetterSelection,
    discarded: { readonly reason: string; readonly at: Date },
  ): Promise<number>;

  /** The timers within a partition's range, the earliest first. */
  timers(partition: PartitionKey & SliceRange, limit: number): Promise<readonly Timer[]>;
}

/** What can be written about processors inside a transaction, after `advance` has made sure of the lease. */
export interface ProcessorUnit {
  /**
   * Moves a checkpoint from one position to another (or leaves it where it is, to make sure of the lease alone), if the
   * lease still holds and nobody else has moved it. Until the transaction has ended, whoever would take the lease, or
   * change what partitions there are, waits for it.
   * @throws LeaseLostError and the transaction must not go on; InvalidArgumentError for a move back
   */
  advance(lease: Fence, from: number, to: number): Promise<void>;
  /** Adds dead letters, or replaces those at the same positions, save those given up in the meantime: they stay so. */
  park(letters: readonly DeadLetter[]): Promise<void>;
  /** Removes a letter that was handled; false if it is gone or discarded, and then the transaction must not go on. */
  unpark(letter: Pick<DeadLetter, 'processor' | 'generation' | 'position'>): Promise<boolean>;
  /** Sets timers; those of the same sequence and name are replaced. */
  setTimers(owner: Pick<PartitionKey, 'processor' | 'generation'>, timers: readonly Timer[]): Promise<void>;
  /** Removes timers; true for each that was there. */
  removeTimers(
    owner: Pick<PartitionKey, 'processor' | 'generation'>,
    timers: readonly Pick<Timer, 'sequence' | 'name'>[],
  ): Promise<readonly boolean[]>;
}
