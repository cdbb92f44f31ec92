import type { Partition, ProcessorState, ProcessorUnit, SliceProgress } from './processor-state.js';
import type { InboxState, InboxUnit } from './inbox-state.js';
import type { DocumentPage, DocumentQuery, Indexes } from './document-query.js';

/** What a read model consists of: a table of keyed JSON documents, or a table whose DDL the user writes. */
export interface Collection {
  /** A lower-case identifier; the name under which readers find the live generation. */
  readonly name: string;
  readonly kind: 'documents' | 'table';
  /** For tables: the statements that create it, given its physical name. */
  readonly create?: (table: string) => string | readonly string[];
  /** For documents: the fields by which they can be found. */
  readonly indexes?: Indexes;
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
  /** It is built to be compared with the live one, and never taken up by a worker or swapped in. */
  readonly shadow: boolean;
  /**
   * How far the generation was whose place it took, by ranges of slices, or one before that if that was further: what lies
   * behind has been processed before. Empty until it takes a place.
   */
  readonly replayed: readonly SliceProgress[];
}

/** What readers of a read model see now, and how far it is. */
export interface LiveGeneration {
  readonly generation: Generation;
  readonly partitions: readonly Partition[];
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
export interface StateUnit extends ProcessorUnit, InboxUnit {
  /** A generation's documents, as this transaction sees them. */
  documents(collection: string, generation: number): DocumentAccess;
  /** The physical name of a generation's table, quoted for SQL where the store has SQL. */
  table(collection: string, generation: number): string;
  /** The live generation with its partitions, as this transaction sees them; undefined if there is none. */
  live(processor: string): Promise<LiveGeneration | undefined>;
  /**
   * Makes a building generation live and retires the one that was, in one step that readers never see half of. The
   * retired one's tokens grow, so that whoever holds a lease on it has lost it; how far it was is kept as `replayed`.
   * An unknown generation or a shadow is an InvalidArgumentError. A transaction that moves checkpoints before it comes
   * here does well to begin with `live`, which takes the locks in the order in which everyone does.
   */
  activate(processor: string, generation: number): Promise<void>;
  /** Like `unprocessed` of the store, as this transaction sees it. */
  unprocessed(processor: string, generation: number): Promise<readonly number[]>;
  /** Like `loadSnapshot` of the store, as this transaction sees it. */
  loadSnapshot(stream: string): Promise<Snapshot | undefined>;
  /** Like `saveSnapshot` of the store, as part of this transaction. */
  saveSnapshot(snapshot: Snapshot): Promise<void>;
}

/** Reads the documents of a live read model. What it returns are copies. */
export interface DocumentReader<Doc = unknown, Fields extends Indexes = Indexes> {
  get(key: string): Promise<Doc | undefined>;
  getMany(keys: readonly string[]): Promise<Map<string, Doc>>;
  /**
   * The documents whose declared fields are as asked for, in order, as of one moment.
   * @throws NotIndexedError for a field that is not declared, InvalidArgumentError
   */
  find(query?: DocumentQuery<Doc, Fields>): Promise<DocumentPage<Doc>>;
  /** Every document with its key, in the order of the keys, read by the page. */
  entries(): AsyncIterable<[key: string, document: Doc]>;
  count(): Promise<number>;
}

/** Reads the documents of one generation. What it returns are copies. */
export type GenerationDocuments = Pick<DocumentReader, 'getMany' | 'entries'>;

/**
 * Where processors keep what they know. The one atomic step that everything rests on: effects and checkpoint, guarded
 * by the lease's token, in one `transaction`.
 */
export interface StateStore<Unit extends StateUnit = StateUnit> extends ProcessorState, InboxState {
  /**
   * Runs the callback in one transaction: what it returned is committed, what it threw undoes everything.
   * No other caller's writes become part of it, however long it awaits.
   * @throws NestedTransactionError inside another transaction of this store, StoreBusyError, or what the callback threw
   */
  transaction<Result>(work: (unit: Unit) => Promise<Result>): Promise<Result>;

  /** All generations of a processor, oldest first. */
  generations(processor: string): Promise<readonly Generation[]>;
  /**
   * Creates a generation with empty tables, and partitions of all slices whose checkpoint is `after`. It is live at
   * once if the processor has no live one, else it is built beside the live one until `activate`.
   * If one with the same version is being built already, that one is returned as it is, unless `fresh` asks for a new
   * one in its place. Two callers at the same time get the same generation.
   * @throws DefinitionError if one of the same version is there, but was built with other indexes
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
      /** Build it to be compared: always a new one, in the place of an earlier shadow; a real build is left alone. */
      readonly shadow?: boolean;
      /** How many partitions of equal width it begins with, 1 to 1024. Default 1. */
      readonly partitions?: number;
    },
  ): Promise<Generation>;
  /**
   * Drops a generation that is not live, with its tables, checkpoints, dead letters and timers; leases on it are lost. One
   * that does not exist is no error; the live one is an InvalidArgumentError.
   */
  dropGeneration(processor: string, generation: number): Promise<void>;
  /**
   * Takes a retired generation up again, as one that is being built, in the place of one that was; `activate` then makes
   * it live once more. It keeps tables, checkpoints, dead letters and timers.
   * @throws InvalidArgumentError if there is no such retired generation
   */
  reopenGeneration(processor: string, generation: number): Promise<Generation>;
  /**
   * The positions of events that nobody has processed, though they lie behind where a generation is, or the `replayed` that
   * it took over: dead letters that hold something back, its own and those of the generations before it that it has not
   * come to yet. In their order; empty for a generation that is gone.
   */
  unprocessed(processor: string, generation: number): Promise<readonly number[]>;

  /** The documents of the live generation, to be found by these indexes; empty while there is none. */
  documents(collection: string, indexes?: Indexes): DocumentReader;
  /** The same of one generation, as committed, for those who work on it; empty if the generation is gone. */
  documentsOf(collection: string, generation: number): GenerationDocuments;

  loadSnapshot(stream: string): Promise<Snapshot | undefined>;
  /** Replaces the stream's snapshot unless there is one of the same version at a later revision. */
  saveSnapshot(snapshot: Snapshot): Promise<void>;
  deleteSnapshot(stream: string): Promise<void>;

  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
