import { RevisionConflictError } from '../errors.js';
import type { AppendResult, ExpectedRevision, NewEvent, StreamAppend } from '../store/event-store.js';

/** Somebody else has appended to a stream since it was loaded: everything is to be decided once more. */
export class ConcurrentAppendError extends Error {
  constructor(cause: RevisionConflictError) {
    super(cause.message, { cause });
  }
}

/** An event on its way to a stream, as it is stored and as an aggregate folds it. */
export interface PendingEvent {
  readonly stored: NewEvent;
  readonly event: object;
}

/** Where the stream is expected that events are added to, and whether the handler said so or it was loaded there. */
export interface Expectation {
  readonly expected: ExpectedRevision;
  readonly loaded: boolean;
}

/** What a batch adds to one stream. */
interface PendingStream {
  readonly events: object[];
  /** Its revision before the batch, -1 if it does not exist; undefined if nobody has said. */
  base: number | 'stream-exists' | undefined;
  /** Whether a handler said where it must be: then a conflict is that handler's failure. */
  explicit: boolean;
}

/** Events for one stream that follow each other in the batch. */
interface Run {
  readonly stream: string;
  /** How many events of the batch lie before them in the stream. */
  readonly offset: number;
  readonly events: NewEvent[];
}

/** Writes appends to several streams, each named once, all or none. */
export type WriteAppends = (appends: readonly StreamAppend[]) => Promise<readonly AppendResult[]>;

/**
 * The appends of a batch of events, in the order in which handlers made them. Each handler's expectations are checked
 * against what those before it have added, as if that were in the log already.
 */
export class PendingAppends {
  readonly #streams = new Map<string, PendingStream>();
  /** What can be appended at once, since no stream comes twice in it. */
  readonly #groups: Map<string, Run>[] = [];
  #last: Run | undefined;

  /** The events of the batch for a stream. */
  eventsOf(stream: string): readonly object[] {
    return this.#streams.get(stream)?.events ?? [];
  }

  /** Adds events to a stream. @throws RevisionConflictError, ConcurrentAppendError if it cannot be where it is expected */
  add(stream: string, events: readonly PendingEvent[], { expected, loaded }: Expectation): void {
    const pending = this.#streams.get(stream) ?? { events: [], base: undefined, explicit: false };
    pending.explicit ||= !loaded && expected !== 'any';
    try {
      pending.base = baseOf(stream, pending, expected);
    } catch (error) {
      throw conflictOf(error, pending);
    }
    this.#streams.set(stream, pending);
    if (events.length === 0) return;
    const run = this.#runOf(stream, pending.events.length);
    for (const { stored, event } of events) {
      run.events.push(stored);
      pending.events.push(event);
    }
  }

  /** Appends everything. @throws what `write` throws, ConcurrentAppendError */
  async write(write: WriteAppends): Promise<void> {
    for (const runs of this.#groups) {
      const appends = [...runs.values()].map(({ stream, offset, events }) => {
        return { stream, events, expected: expectedAt(this.#streams.get(stream)?.base, offset) };
      });
      try {
        await write(appends);
      } catch (error) {
        const stream = error instanceof RevisionConflictError ? this.#streams.get(error.stream) : undefined;
        throw stream ? conflictOf(error, stream) : error;
      }
    }
  }

  #runOf(stream: string, offset: number): Run {
    if (this.#last?.stream === stream) return this.#last;
    let group = this.#groups.at(-1);
    if (!group || group.has(stream)) this.#groups.push((group = new Map<string, Run>()));
    const run = { stream, offset, events: [] };
    group.set(stream, run);
    return (this.#last = run);
  }
}

/** What an expectation says of where the stream was before the batch. @throws RevisionConflictError if it cannot be met */
function baseOf(
  stream: string,
  { base, events }: PendingStream,
  expected: ExpectedRevision,
): PendingStream['base'] {
  if (expected === 'any') return base;
  const added = events.length;
  const conflict = (actual: number): RevisionConflictError =>
    new RevisionConflictError(stream, expected, actual);
  if (expected === 'stream-exists') {
    if (base === undefined) return added > 0 ? base : expected;
    if (base === -1 && added === 0) throw conflict(-1);
    return base;
  }
  const wanted = (expected === 'no-stream' ? -1 : expected) - added;
  if (typeof base === 'number' && base !== wanted) throw conflict(base + added);
  const least = base === 'stream-exists' ? 0 : -1;
  if (wanted < least) throw conflict(least + added);
  return wanted;
}

function expectedAt(base: PendingStream['base'], offset: number): ExpectedRevision {
  if (typeof base === 'number') return base + offset < 0 ? 'no-stream' : base + offset;
  return offset > 0 ? 'any' : (base ?? 'any');
}

function conflictOf(error: unknown, { explicit }: PendingStream): unknown {
  return error instanceof RevisionConflictError && !explicit ? new ConcurrentAppendError(error) : error;
}
