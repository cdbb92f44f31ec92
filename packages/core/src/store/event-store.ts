import type { EventReader } from './event-reader.js';
import type { StateUnit } from './state-store.js';

/** What an event carries beside its data. All of it is JSON; every key but the two named ones is the user's. */
export interface EventMetadata {
  /** The same in all events that one request or message led to, across streams and services. */
  readonly correlationId?: string;
  /** The id of the event or message that directly caused this one. */
  readonly causationId?: string;
  readonly [key: string]: unknown;
}

/** An event on its way into a store: stored data, no instances. */
export interface NewEvent {
  /** A UUID that makes the append idempotent. Default: a new uuid v7, with which a repeat is a new event. */
  readonly id?: string;
  /** The stable type name, e.g. `OrderPlaced`. */
  readonly type: string;
  /** The version of the data's shape, from 1. Default 1. */
  readonly version?: number;
  /** Any JSON value. */
  readonly data: unknown;
  readonly metadata?: EventMetadata;
}

/** An event as a store returns it. `Data` is JSON when it comes from a store and an instance after decoding. */
export interface RecordedEvent<Data = unknown> {
  readonly id: string;
  readonly type: string;
  /** The version it was written with. */
  readonly version: number;
  readonly stream: string;
  /** Its place in its stream, from 0. */
  readonly revision: number;
  /** Its place in the log; from 1 and without gaps in Refold's own stores. */
  readonly position: number;
  /** When the store wrote it. */
  readonly recordedAt: Date;
  readonly metadata: EventMetadata;
  readonly data: Data;
}

/**
 * What an append expects of its stream: that it is at this revision, that it does not exist, that it exists, or nothing.
 * `'any'` never conflicts, whoever else appends.
 */
export type ExpectedRevision = number | 'no-stream' | 'stream-exists' | 'any';

/** Events for one stream under one condition. */
export interface StreamAppend {
  readonly stream: string;
  readonly events: readonly NewEvent[];
  /** Default `'any'`. */
  readonly expected?: ExpectedRevision;
}

/** Where an append left its stream and the log. */
export interface AppendResult {
  readonly stream: string;
  /** The revision of the append's last event. For an append of nothing: the stream's revision, -1 if it does not exist. */
  readonly revision: number;
  /** The position of the append's last event, for `waitFor`. For an append of nothing: the head of the log. */
  readonly position: number;
}

/** Runs inside the transaction of an append, after its events are written; what it throws undoes this append alone. */
export type InlineHook<Unit extends StateUnit = StateUnit> = (
  events: readonly RecordedEvent[],
  unit: Unit & LogUnit,
) => Promise<void>;

/** What the transactions of a store that is log and state can do beside changing the state: read the log as they see it. */
export interface LogUnit {
  readStream(stream: string, options?: ReadStreamOptions): EventReader;
  readAll(options?: ReadAllOptions): EventReader;
}

/** What goes with an append, to however many streams. */
export interface AppendAllOptions<Unit extends StateUnit = StateUnit> {
  /** Where the store's `supports.inline` says so. */
  readonly inline?: InlineHook<Unit>;
  /**
   * The unit of a `transaction` of this store, where its `supports.transactions` says so: the events are committed with
   * whatever else the transaction does, or not at all. Nobody else sees them before, and on some stores all other appends
   * wait until then. An append that fails is undone alone, and the transaction may go on. Await it before anything else is
   * done with the unit.
   */
  readonly transaction?: StateUnit;
}

/** Under which condition events are added to one stream, and what goes with them. */
export interface AppendOptions<Unit extends StateUnit = StateUnit> extends AppendAllOptions<Unit> {
  /** Default `'any'`. */
  readonly expected?: ExpectedRevision;
}

/** The order of a read: that of the log, or its reverse. */
export type Direction = 'forward' | 'backward';

/** Which part of a stream to read, and how. */
export interface ReadStreamOptions {
  /** The lowest revision to read. Default 0. */
  readonly from?: number;
  /** The highest revision to read. Default: the stream's last. */
  readonly to?: number;
  /** The order of what lies between `from` and `to`. Default `'forward'`. */
  readonly direction?: Direction;
  /** At most so many events. Default: no limit. */
  readonly limit?: number;
  /** Whether to read the stream's archived events too. Default false. */
  readonly archived?: boolean;
  /** At most so many events a batch. Default 1000. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** Which events a read returns: those of one of the types, in one of the categories. Both must hold where both are given. */
export interface EventFilter {
  readonly types?: readonly string[];
  readonly categories?: readonly string[];
}

/** Which part of the log to read, and how. */
export interface ReadAllOptions {
  /** Read what lies behind this position (exclusive). Default 0, the beginning. */
  readonly after?: number;
  /** Read up to this position (inclusive). Default: the head of the log when the read begins each batch. */
  readonly to?: number;
  /** The order of what lies between `after` and `to`. Default `'forward'`. */
  readonly direction?: Direction;
  /** At most so many events. Default: no limit. */
  readonly limit?: number;
  readonly filter?: EventFilter;
  /** At most so many events a batch. Default 1000. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** Which events `truncateStream` moves. */
export interface TruncateOptions {
  /** The lowest revision that stays in the hot path. */
  readonly before: number;
}

/** One event of an import, for the end of its stream. */
export interface ImportedEvent extends NewEvent {
  readonly stream: string;
  /**
   * When the event was recorded where it comes from. Times must not go backward in the log, nor lie in the future. Default:
   * when it is written.
   */
  readonly recordedAt?: Date;
}

/**
 * Gives the items of an import in their order, beginning behind the first `after` ones, which are in the log already. It
 * must give the same items in the same order each time.
 */
export type ImportSource = (after: number) => Iterable<ImportedEvent> | AsyncIterable<ImportedEvent>;

/** How far an import has come. */
export interface ImportProgress {
  /** How many items of the source are in the log, those of earlier calls included. */
  readonly imported: number;
  /** The position of the last event. */
  readonly position: number;
}

/** What `import` returns when the source has ended. */
export type ImportResult = ImportProgress;

/** How an import is divided, watched and ended. */
export interface ImportOptions {
  /** At most so many events are committed together; other appends wait that long. Default 20,000 on PostgreSQL, else 5,000. */
  readonly batchSize?: number;
  /** Called after every commit, and awaited before the next. What it throws ends the import. */
  readonly onProgress?: (progress: ImportProgress) => void | Promise<void>;
  /** Ends the import between two items; what is committed stays, and the next call goes on behind it. */
  readonly signal?: AbortSignal;
}

/** Where stores of the same contract differ; the conformance suite skips by it. */
export interface EventStoreSupports {
  /** `appendAll` with more than one stream. */
  readonly multiStreamAppend: boolean;
  /** Inline hooks in the append's transaction. */
  readonly inline: boolean;
  /** Appends inside a `transaction` of the same store. */
  readonly transactions: boolean;
  /** `import`. */
  readonly imports: boolean;
  /** `truncateStream`, `archiveStream` and `reopenStream`. */
  readonly archiving: boolean;
  /** Positions without gaps, from 1. */
  readonly gaplessPositions: boolean;
}

/**
 * The log. All implementations promise:
 *
 * - Appends are atomic: all events of an `append` or `appendAll` are there, at consecutive positions, or none.
 * - Positions grow in commit order: a reader that has seen position `n` never finds a lower one later.
 * - Appends are idempotent by event id: the exact repeat of an append returns the first one's result, whatever has been
 *   appended since; anything else that reuses an id throws `DuplicateEventError`.
 * - Appending no events is no operation: no expectation is checked and nothing is written.
 * - After `close()` every call throws `StoreClosedError`.
 */
export interface EventStore<Unit extends StateUnit = StateUnit> {
  readonly supports: EventStoreSupports;

  /**
   * Adds events to one stream.
   * @throws RevisionConflictError, StreamArchivedError, DuplicateEventError, EventTooLargeError, SerializationError, InvalidArgumentError (also
   * for the unit of another store), TransactionEndedError, NestedTransactionError inside a transaction that is not given
   */
  append(stream: string, events: readonly NewEvent[], options?: AppendOptions<Unit>): Promise<AppendResult>;

  /** Adds events to several streams, all or none; a stream may be named once. Results are in the order of the appends. */
  appendAll(appends: readonly StreamAppend[], options?: AppendAllOptions<Unit>): Promise<AppendResult[]>;

  /** Reads one stream; a stream that does not exist is empty. */
  readStream(stream: string, options?: ReadStreamOptions): EventReader;

  /** Reads the log. A forward read ends at the head; `changes` tells when there is more. */
  readAll(options?: ReadAllOptions): EventReader;

  /**
   * Loads many events fast, in the order of their source, each behind what its stream has. The store remembers under the
   * import's name how many items are in, in the same transaction as these. After a crash, an abort or an error, the same
   * call goes on behind the last one that was committed: none is left out, and none is there twice. Other appends may go
   * on meanwhile; no expectation is checked and no inline hook runs.
   * @throws ImportItemError for an item that cannot be taken: everything before it is in the log; ImportConflictError if
   * two imports of one name run at once; what the source throws, the signal's reason
   */
  import(name: string, source: ImportSource, options?: ImportOptions): Promise<ImportResult>;

  /**
   * Moves the events of a stream below a revision out of the hot path; returns how many were moved. Nothing is lost: they
   * keep their positions and ids, `readAll` returns them like all others, and `readStream` does if it is told to read
   * `archived` ones. The stream's revision stays what it is, and it takes events as before.
   */
  truncateStream(stream: string, options: TruncateOptions): Promise<number>;

  /**
   * Moves all events of a stream out of the hot path, like `truncateStream`, and closes it: appends to it fail with
   * StreamArchivedError until `reopenStream`. A stream that does not exist stays so.
   */
  archiveStream(stream: string): Promise<number>;

  /** Lets a stream take events again, behind its last revision. What was moved stays in the archive. */
  reopenStream(stream: string): Promise<void>;

  /** The position of the last event, 0 for an empty log. */
  head(): Promise<number>;

  /** Resolves with the head as soon as it is beyond `after`; rejects with the signal's reason when that aborts. */
  changes(after: number, signal?: AbortSignal): Promise<number>;

  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
