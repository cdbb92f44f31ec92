import type { FailedEvent } from '../errors.js';

/** What a read model consists of: a table of keyed JSON documents, or a table whose DDL the user writes. */
export interface Collection {
  /** A lower-case identifier; the name under which readers find the live generation. */
  readonly name: string;
  readonly kind: 'documents' | 'table';
  /** For tables: the statements that create it, given its physical name. */
  readonly create?: (table: string) => string | readonly string[];
}

/**
 * One build of a processor's state: its read-model tables and its checkpoints. A processor has at most one live
 * generation, which readers see, and at most one that is being built beside it.
 */
export interface Generation {
  readonly processor: string;
  /** Grows with every build of this processor, from 1. */
  readonly generation: number;
  /** The version of the processor's code that the build is for. */
  readonly version: number;
  readonly status: 'building' | 'live' | 'retired';
  readonly collections: readonly string[];
  /** The position after which the build began: 0 unless it was rebuilt from an offset. */
  readonly startedAfter: number;
}

/** A range of slices of one generation, with its checkpoint and its lease. */
export interface Partition {
  readonly processor: string;
  readonly generation: number;
  /** First and last slice, both inclusive, of 0 to 1023. */
  readonly firstSlice: number;
  readonly lastSlice: number;
  /** The checkpoint: everything up to this position is done. */
  readonly position: number;
  /** The fencing token of the newest lease; 0 before the first. */
  readonly token: number;
  /** Who holds it, absent when it is free. An expired lease still names its holder until another takes it. */
  readonly holder?: string;
  readonly leaseExpiresAt?: Date;
  /** Why it stopped, absent while all is well. */
  readonly failure?: Failure;
}

/** What readers of a read model see now, and how far it is. */
export interface LiveGeneration {
  readonly generation: Generation;
  readonly partitions: readonly Partition[];
}

/** Why a processor stopped, as its state keeps it. */
export interface Failure {
  readonly message: string;
  readonly event?: FailedEvent;
  readonly at: Date;
}

/** A timed, fenced hold on a partition. */
export interface Lease {
  readonly processor: string;
  readonly generation: number;
  readonly firstSlice: number;
  readonly holder: string;
  /** Greater than the token of every earlier lease on this partition. */
  readonly token: number;
  /** The checkpoint when the lease was taken. */
  readonly position: number;
}

/** A snapshot of an aggregate: its state as JSON, at a revision of its stream. */
export interface Snapshot {
  readonly stream: string;
  readonly revision: number;
  /** The version of the aggregate's code that made it. */
  readonly version: number;
  readonly state: unknown;
}

/** Keyed JSON documents inside a transaction. */
export interface DocumentAccess {
  /** The documents that exist among the keys. */
  getMany(keys: readonly string[]): Promise<Map<string, unknown>>;
  /** Inserts or replaces. */
  putMany(documents: ReadonlyMap<string, unknown>): Promise<void>;
  /** Keys without a document are no error. */
  deleteMany(keys: readonly string[]): Promise<void>;
}

/** A transaction on the state; it is gone when the callback of `transaction` has ended. */
export interface StateUnit {
  /** A generation's documents, as this transaction sees them. */
  documents(collection: string, generation: number): DocumentAccess;
  /** The physical name of a generation's table, quoted for SQL where the store has SQL. */
  table(collection: string, generation: number): string;
  /**
   * Moves a checkpoint from one position to another, if the lease still holds and nobody else has moved it.
   * @throws LeaseLostError and the transaction must not go on.
   */
  advance(lease: Lease, from: number, to: number): Promise<void>;
  /** The live generation with its partitions, as this transaction sees them; undefined if there is none. */
  live(processor: string): Promise<LiveGeneration | undefined>;
  /**
   * Makes a building generation live and retires the one that was, in one step that readers never see half of. The
   * retired one's tokens grow, so that whoever holds a lease on it has lost it. An unknown generation is an error.
   */
  activate(processor: string, generation: number): Promise<void>;
  /** Like `loadSnapshot` of the store, as this transaction sees it. */
  loadSnapshot(stream: string): Promise<Snapshot | undefined>;
  /** Like `saveSnapshot` of the store, as part of this transaction. */
  saveSnapshot(snapshot: Snapshot): Promise<void>;
}

/** Reads the documents of a live read model. What it returns are copies. */
export interface DocumentReader<Doc = unknown> {
  get(key: string): Promise<Doc | undefined>;
  getMany(keys: readonly string[]): Promise<Map<string, Doc>>;
  /** Every document with its key, in the order of the keys, read by the page. */
  entries(): AsyncIterable<[key: string, document: Doc]>;
  count(): Promise<number>;
}

/**
 * Where processors keep what they know. The one atomic step that everything rests on: effects and checkpoint, guarded
 * by the lease's token, in one `transaction`.
 */
export interface StateStore<Unit extends StateUnit = StateUnit> {
  /**
   * Runs the callback in one transaction: what it returned is committed, what it threw undoes everything.
   * No other caller's writes become part of it, however long it awaits.
   * @throws NestedTransactionError inside another transaction of this store, StoreBusyError, or what the callback threw
   */
  transaction<Result>(work: (unit: Unit) => Promise<Result>): Promise<Result>;

  /** All generations of a processor, oldest first. */
  generations(processor: string): Promise<readonly Generation[]>;
  /**
   * Creates a generation with empty tables and one partition of all slices whose checkpoint is `after`. It is live at
   * once if the processor has no live one, else it is built beside the live one until `activate`.
   * If one with the same version is being built already, that one is returned as it is, unless `fresh` asks for a new
   * one in its place. Two callers at the same time get the same generation.
   */
  createGeneration(
    processor: string,
    options: {
      readonly version: number;
      readonly collections: readonly Collection[];
      readonly after?: number;
      readonly fresh?: boolean;
      /** Build it aside until `activate`, even if nothing is live. Default false. */
      readonly beside?: boolean;
    },
  ): Promise<Generation>;
  /**
   * Drops a generation that is not live, with its tables and checkpoints; leases on it are lost. One that does not exist
   * is no error; the live one is an InvalidArgumentError.
   */
  dropGeneration(processor: string, generation: number): Promise<void>;

  /** The partitions of one processor, or of all, with checkpoints and leases as they are now. */
  partitions(processor?: string): Promise<readonly Partition[]>;
  /**
   * Takes a lease if the partition is free, expired, or already this holder's, with a new token each time; undefined if
   * another holds it, or if the generation is retired or gone.
   */
  acquireLease(
    partition: Pick<Partition, 'processor' | 'generation' | 'firstSlice'>,
    options: { readonly holder: string; readonly ttlMs: number },
  ): Promise<Lease | undefined>;
  /** Prolongs leases, all in one step; false for each that was lost. The answers are in the order of the leases. */
  renewLeases(leases: readonly Lease[], ttlMs: number): Promise<readonly boolean[]>;
  /** Gives a lease back; one that was lost is no error. */
  releaseLease(lease: Lease): Promise<void>;
  /** Records why a partition stopped, or with `undefined` that it goes on. A lost lease records nothing. */
  recordFailure(lease: Lease, failure: Failure | undefined): Promise<void>;

  /** The documents of the live generation; empty while there is none. */
  documents(collection: string): DocumentReader;
  /** The same of one generation, as committed, for the holder of its lease; empty if the generation is gone. */
  documentsOf(collection: string, generation: number): Pick<DocumentAccess, 'getMany'>;

  loadSnapshot(stream: string): Promise<Snapshot | undefined>;
  /** Replaces the stream's snapshot unless there is one of the same version at a later revision. */
  saveSnapshot(snapshot: Snapshot): Promise<void>;
  deleteSnapshot(stream: string): Promise<void>;

  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
