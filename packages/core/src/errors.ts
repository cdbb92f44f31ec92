/** Base of every error that Refold throws on purpose; `code` is stable across releases. */
export abstract class RefoldError extends Error {
  /** Stable identifier of the kind of error, for programs that branch on it. */
  abstract readonly code: string;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** An argument is not of the form its docstring asks for; nothing was read or written. */
export class InvalidArgumentError extends RefoldError {
  readonly code = 'INVALID_ARGUMENT';

  constructor(
    readonly argument: string,
    readonly value: unknown,
    requirement: string,
  ) {
    super(`${argument} ${requirement}, got ${describe(value)}`);
  }
}

/** Something is declared wrongly (an event, aggregate, projection or application); found when it is put together. */
export class DefinitionError extends RefoldError {
  readonly code = 'DEFINITION';

  constructor(
    /** What was declared, as the program names it. */
    readonly subject: string,
    problem: string,
  ) {
    super(`${subject}: ${problem}`);
  }
}

/** A stream is not where an append expected it; nothing was appended. Load again and decide again. */
export class RevisionConflictError extends RefoldError {
  readonly code = 'REVISION_CONFLICT';

  constructor(
    readonly stream: string,
    /** What the append expected: a revision, `'no-stream'` or `'stream-exists'`. */
    readonly expected: number | 'no-stream' | 'stream-exists',
    /** The stream's actual revision, -1 when it does not exist. */
    readonly actual: number,
  ) {
    super(
      `Stream "${stream}" ${actual < 0 ? 'does not exist' : `is at revision ${actual}`}, expected ${
        expected === 'no-stream'
          ? 'no stream'
          : expected === 'stream-exists'
            ? 'it to exist'
            : `revision ${expected}`
      }: load it again and decide on its newer state`,
    );
  }
}

/** An event id is already in the log, and the append is no exact repeat of the one that wrote it; nothing was appended. */
export class DuplicateEventError extends RefoldError {
  readonly code = 'DUPLICATE_EVENT';

  constructor(
    readonly eventId: string,
    /** The stream that the rejected append was for. */
    readonly stream: string,
  ) {
    super(
      `Event ${eventId} for stream "${stream}" is already in the log, but not as part of this same append: ` +
        'give new events new ids, and repeat an append only whole',
    );
  }
}

/** An event's JSON is larger than the store takes; nothing was appended. */
export class EventTooLargeError extends RefoldError {
  readonly code = 'EVENT_TOO_LARGE';

  constructor(
    readonly type: string,
    readonly bytes: number,
    readonly limit: number,
  ) {
    super(
      `Event "${type}" takes ${bytes} bytes as JSON, the store takes at most ${limit}: ` +
        'keep large content elsewhere and refer to it, or raise maxEventBytes',
    );
  }
}

/** A value cannot be written as JSON (a cycle, a BigInt, undefined); nothing was written. */
export class SerializationError extends RefoldError {
  readonly code = 'SERIALIZATION';

  constructor(
    /** What could not be written, e.g. `data of event "OrderPlaced"`. */
    readonly subject: string,
    cause?: unknown,
  ) {
    super(
      `The ${subject} cannot be written as JSON: ${cause instanceof Error ? cause.message : 'it is undefined, a function or a symbol'}`,
      { cause },
    );
  }
}

/** An item of an import cannot be taken; `cause` says why. Everything before it is in the log. */
export class ImportItemError extends RefoldError {
  readonly code = 'IMPORT_ITEM';

  constructor(
    /** The name of the import. */
    readonly importName: string,
    /** The item's number in the source, from 1. */
    readonly item: number,
    /** The item's stream, if it has one. */
    readonly stream: string | undefined,
    cause: unknown,
  ) {
    super(
      `Item ${item} of import "${importName}"${stream === undefined ? '' : ` (stream "${stream}")`} cannot be taken: ` +
        `${messageOf(cause)}. The ${item - 1} items before it are in the log: ` +
        'repair it in the source, and call import again to go on from there',
      { cause },
    );
  }
}

/** Another call imports under the same name at the same time; nothing is there twice. */
export class ImportConflictError extends RefoldError {
  readonly code = 'IMPORT_CONFLICT';

  constructor(
    readonly importName: string,
    /** How many items this call took to be in the log. */
    readonly expected: number,
    /** How many are. */
    readonly actual: number,
  ) {
    super(
      `Import "${importName}" is at item ${actual}, expected ${expected}: another call imports under this name at the same time. ` +
        'Let one of them go on',
    );
  }
}

/** A stored event has a type that the application does not know. */
export class UnknownEventTypeError extends RefoldError {
  readonly code = 'UNKNOWN_EVENT_TYPE';

  constructor(
    readonly type: string,
    /** Where the event was met, e.g. `order-42 at revision 3`. */
    readonly place: string,
  ) {
    super(
      `Event type "${type}" (${place}) is not known to this application: ` +
        'name its class in an aggregate, a projection or the "events" of the application, or declare it as an alias',
    );
  }
}

/** A stored event has a version that this code can neither read nor lead forward. */
export class UnknownEventVersionError extends RefoldError {
  readonly code = 'UNKNOWN_EVENT_VERSION';

  constructor(
    readonly type: string,
    readonly version: number,
    /** The version that this code declares. */
    readonly current: number,
    /** Where the event was met. */
    readonly place: string,
  ) {
    super(
      version > current
        ? `Event "${type}" (${place}) has version ${version}, this application knows up to ${current}: deploy the newer code`
        : `Event "${type}" (${place}) has version ${version} and there is no upcaster from it towards ${current}: add upcasters[${version}]`,
    );
  }
}

/** An upcaster, or the step that makes an instance of stored data, threw. */
export class DecodeError extends RefoldError {
  readonly code = 'DECODE';

  constructor(
    readonly type: string,
    readonly version: number,
    readonly place: string,
    cause: unknown,
  ) {
    super(`Event "${type}" version ${version} (${place}) could not be decoded: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** An aggregate was asked for by an id under which nothing was ever appended. */
export class AggregateNotFoundError extends RefoldError {
  readonly code = 'AGGREGATE_NOT_FOUND';

  constructor(
    readonly category: string,
    readonly id: string,
  ) {
    super(
      `There is no ${category} "${id}": use create() to begin it, or upsert() where it may or may not exist`,
    );
  }
}

/** The stream is archived: it can be read and replayed, and takes no more events. Nothing was appended. */
export class StreamArchivedError extends RefoldError {
  readonly code = 'STREAM_ARCHIVED';

  constructor(readonly stream: string) {
    super(
      `Stream "${stream}" is archived and takes no more events: begin a new stream, or reopen it with reopenStream()`,
    );
  }
}

/** The store was closed before or while this call ran. */
export class StoreClosedError extends RefoldError {
  readonly code = 'STORE_CLOSED';

  constructor() {
    super('The store is closed: open a new one, and close it only after the last call on it has ended');
  }
}

/** Who holds a store's write lock. */
export interface LockHolder {
  /** The server's process id of its connection. */
  readonly pid: number;
  /** What its connection calls itself. */
  readonly application: string;
  /** When its transaction began. */
  readonly since: Date;
  /** What its connection is doing, such as `idle in transaction`. */
  readonly state: string;
  /** Its latest statement. */
  readonly statement: string;
}

function described({ pid, application, since, state }: LockHolder): string {
  return ` (by "${application}", process ${pid}, ${state}, since ${since.toISOString()})`;
}

/** Another process or transaction held the write lock for longer than the configured wait; nothing was written. */
export class StoreBusyError extends RefoldError {
  readonly code = 'STORE_BUSY';

  constructor(
    readonly waitedMs: number,
    cause?: unknown,
    /** Who held it, as far as the store can tell. */
    readonly holders: readonly LockHolder[] = [],
  ) {
    super(
      `The store's write lock was held by others for ${waitedMs} ms${holders.map(described).join('')}: ` +
        'look for a long transaction in another process, or raise lockTimeoutMs',
      { cause },
    );
  }
}

/**
 * The connection to the database broke, or could not be made. A read has told nothing. Of a transaction it is not known
 * whether it was committed: look before repeating it. An append throws this only if none of it was sent, so that nothing
 * of it happened; see AppendOutcomeUnknownError for one that was.
 */
export class StoreUnavailableError extends RefoldError {
  readonly code = 'STORE_UNAVAILABLE';

  constructor(
    /** What was under way. */
    readonly call: string,
    cause?: unknown,
  ) {
    super(
      `The database could not be reached, or the connection broke, during ${call}: ${messageOf(cause)}. ` +
        'Whether a transaction under way was committed is not known: look before repeating it',
      { cause },
    );
  }
}

/**
 * The connection broke during an append, and the database stayed out of reach for longer than the store was told to try:
 * the events are in the log wholly or not at all.
 */
export class AppendOutcomeUnknownError extends RefoldError {
  readonly code = 'APPEND_OUTCOME_UNKNOWN';

  constructor(
    /** The ids of the append's events, in order. */
    readonly eventIds: readonly string[],
    readonly waitedMs: number,
    cause?: unknown,
  ) {
    super(
      `The connection broke during an append, and for ${waitedMs} ms the database could not be asked whether it was committed: ` +
        'repeat the append with the same event ids, which appends it once at the most',
      { cause },
    );
  }
}

/** A call on the store was made inside one of its own transactions, where it would wait for itself for ever. */
export class NestedTransactionError extends RefoldError {
  readonly code = 'NESTED_TRANSACTION';

  constructor(readonly call: string) {
    super(
      `${call} was called inside a transaction of the same store, which would wait for itself: use the transaction's own unit, and give it to appends as { transaction }`,
    );
  }
}

/** A transaction's unit was used after the transaction had ended. */
export class TransactionEndedError extends RefoldError {
  readonly code = 'TRANSACTION_ENDED';

  constructor() {
    super('The transaction has ended: await everything that uses its unit inside the callback');
  }
}

/** A worker no longer holds the partition it tried to commit for; the transaction was rolled back. */
export class LeaseLostError extends RefoldError {
  readonly code = 'LEASE_LOST';

  constructor(
    readonly processor: string,
    /** The fencing token that the worker held. */
    readonly token: number,
  ) {
    super(
      `The lease on processor "${processor}" with token ${token} was lost to another worker: nothing of this batch was written`,
    );
  }
}

/** A processor stopped because its handler failed on an event; everything before that event is committed. */
export class ProcessorStoppedError extends RefoldError {
  readonly code = 'PROCESSOR_STOPPED';

  constructor(
    readonly processor: string,
    /** The event that failed, absent when the failure was not about one event. */
    readonly event: FailedEvent | undefined,
    cause: unknown,
  ) {
    super(
      `Processor "${processor}" stopped${
        event
          ? ` at position ${event.position} (${event.type}, ${event.stream} revision ${event.revision})`
          : ''
      }: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** An inline projection failed on an event of this append, or on one before it; the append was undone. */
export class InlineProjectionError extends RefoldError {
  readonly code = 'INLINE_PROJECTION';

  constructor(
    readonly processor: string,
    readonly event: FailedEvent,
    cause: unknown,
  ) {
    super(
      `Inline projection "${processor}" failed on ${event.type} (${event.stream} revision ${event.revision}), ` +
        `so nothing was appended: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** Which event a processor failed on. */
export interface FailedEvent {
  readonly id: string;
  readonly type: string;
  readonly stream: string;
  readonly revision: number;
  readonly position: number;
}

/** The stored read model was built by a newer version of the projection than this code declares. */
export class ProcessorOutdatedError extends RefoldError {
  readonly code = 'PROCESSOR_OUTDATED';

  constructor(
    readonly processor: string,
    readonly declared: number,
    readonly stored: number,
  ) {
    super(
      `Processor "${processor}" is at version ${stored}, this code declares ${declared}: deploy the newer code, ` +
        'or give the projection a higher version',
    );
  }
}

/** This version of a processor was live and was rolled back to an older one. */
export class ProcessorRolledBackError extends RefoldError {
  readonly code = 'PROCESSOR_ROLLED_BACK';

  constructor(
    readonly processor: string,
    readonly declared: number,
    readonly stored: number,
  ) {
    super(
      `Version ${declared} of processor "${processor}" was rolled back to version ${stored}: ` +
        'roll back once more with this code to put it in its place again, or give it a higher version',
    );
  }
}

/** What was asked about a dead letter cannot be done. */
export class DeadLetterError extends RefoldError {
  readonly code = 'DEAD_LETTER';

  constructor(
    readonly processor: string,
    /** The position of the letter's event. */
    readonly position: number,
    why: string,
  ) {
    super(`The dead letter of "${processor}" at position ${position} ${why}`);
  }
}

/** No application or store knows a processor by that name. */
export class UnknownProcessorError extends RefoldError {
  readonly code = 'UNKNOWN_PROCESSOR';

  constructor(
    readonly processor: string,
    known: readonly string[],
  ) {
    super(
      `There is no processor "${processor}" in this application${known.length ? ` (it has ${known.join(', ')})` : ''}: ` +
        'add it to the projections or deliveries of createApplication',
    );
  }
}

/** A query on documents names a field that is not among the declared indexes; nothing was read. */
export class NotIndexedError extends RefoldError {
  readonly code = 'NOT_INDEXED';

  constructor(
    readonly collection: string,
    readonly field: string,
    /** The fields that are declared. */
    readonly declared: readonly string[],
  ) {
    super(
      `Read model "${collection}" has no index on "${field}" (it has ${declared.join(', ') || 'none'}): ` +
        'declare it in the indexes of the projection, and give that a higher version',
    );
  }
}

/** A read model did not reach the awaited position in time. */
export class WaitTimeoutError extends RefoldError {
  readonly code = 'WAIT_TIMEOUT';

  constructor(
    readonly processor: string,
    readonly position: number,
    /** Where the processor was when time ran out. */
    readonly reached: number,
    readonly timeoutMs: number,
  ) {
    super(
      `Processor "${processor}" was at position ${reached} after ${timeoutMs} ms, awaited ${position}: is a worker running?`,
    );
  }
}

/** The store cannot do what was asked, and says so in its `supports`. */
export class UnsupportedError extends RefoldError {
  readonly code = 'UNSUPPORTED';

  constructor(
    readonly feature: string,
    advice: string,
  ) {
    super(`This store does not support ${feature}: ${advice}`);
  }
}

/** The message of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}
