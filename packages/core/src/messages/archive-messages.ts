import { randomUUID } from 'node:crypto';
import type { Clock } from '../clock.js';
import { InvalidArgumentError, UnsupportedError } from '../errors.js';
import type { EventStore, RecordedEvent } from '../store/event-store.js';
import type { Lease } from '../store/processor-state.js';
import type { StateStore } from '../store/state-store.js';
import { MESSAGE_CATEGORY } from './message-stream.js';
import { OwedMessages } from './owed-messages.js';

/** Which messages `Application.archiveMessages` moves. */
export interface ArchiveMessagesOptions {
  /** Those that were recorded longer ago. */
  readonly olderThanMs: number;
  /** Ends it between two batches; the next call goes on there. */
  readonly signal?: AbortSignal;
}

/** What `Application.archiveMessages` did. */
export interface ArchiveMessagesResult {
  /** How many messages it moved. */
  readonly archived: number;
  /** The processor that is behind the first message which was old enough and left, or has it as a dead letter. */
  readonly owedBy: string | undefined;
}

/** What archiving works with. */
export interface ArchivingContext {
  readonly log: EventStore;
  readonly state: StateStore;
  readonly clock: Clock;
  /** The names of the application's processors. */
  readonly processors: readonly string[];
}

/**
 * Under this name the place up to which all messages are archived is kept, as a checkpoint, so that no call reads what an
 * earlier one has done with. No processor can be called so.
 */
export const MESSAGE_ARCHIVE = 'message:archive';

/** How many messages are looked at together. */
const BATCH = 500;
const LEASE_MS = 60_000;
/** So many streams that must be left alone are remembered; a pass ends where there are more. */
const MAX_HELD = 10_000;

/** See `Application.archiveMessages`. */
export async function archiveMessages(
  context: ArchivingContext,
  { olderThanMs, signal }: ArchiveMessagesOptions,
): Promise<ArchiveMessagesResult> {
  if (!(olderThanMs >= 0)) throw new InvalidArgumentError('olderThanMs', olderThanMs, 'must be at least 0');
  if (!context.log.supports.archiving) {
    throw new UnsupportedError('archiving messages', 'use a store whose supports.archiving is true');
  }
  signal?.throwIfAborted();
  const lease = await begin(context.state);
  if (!lease) return { archived: 0, owedBy: undefined };
  try {
    return await new MessageArchiver(context, lease).run(context.clock.now() - olderThanMs, signal);
  } finally {
    await context.state.releaseLease(lease);
  }
}

/** The lease on the place; undefined while another call has it. */
async function begin(state: StateStore): Promise<Lease | undefined> {
  const { generation } = await state.createGeneration(MESSAGE_ARCHIVE, { version: 1, collections: [] });
  return state.acquireLease(
    { processor: MESSAGE_ARCHIVE, generation, firstSlice: 0 },
    { holder: `archiving ${randomUUID()}`, ttlMs: LEASE_MS },
  );
}

/** One pass over the messages behind the place. */
class MessageArchiver {
  readonly #context: ArchivingContext;
  readonly #lease: Lease;
  /** Everything up to here is archived, and that is written down. */
  #place: number;
  #archived = 0;
  #owedBy: string | undefined;
  /** The first message that must stay; the place does not pass it. */
  #firstHeld = Infinity;
  /** The streams of messages that must stay: what can be truncated is the beginning of a stream. */
  readonly #held = new Set<string>();

  constructor(context: ArchivingContext, lease: Lease) {
    this.#context = context;
    this.#lease = lease;
    this.#place = lease.position;
  }

  async run(recordedBefore: number, signal: AbortSignal | undefined): Promise<ArchiveMessagesResult> {
    const { log, state, processors } = this.#context;
    const head = await log.head();
    // Before any dead letter is looked for: what these have passed is parked by now, or done.
    const owed = await OwedMessages.look(state, { own: processors, except: MESSAGE_ARCHIVE });
    const filter = { categories: [MESSAGE_CATEGORY] };
    const reader = log.readAll({ after: this.#place, to: head, filter, batchSize: BATCH });
    for await (const { events, through } of reader.batches()) {
      signal?.throwIfAborted();
      // Positions grow, and times never go back: behind one that is too young or owed, all are.
      const left = events.findIndex(
        ({ position, recordedAt }) => position > owed.position || recordedAt.getTime() >= recordedBefore,
      );
      await this.#archive(left < 0 ? events : events.slice(0, left), owed);
      const first = events[left];
      if (first && first.recordedAt.getTime() < recordedBefore) this.#owedBy ??= owed.processor;
      const end = first ? first.position - 1 : Math.min(through, owed.position);
      if (!(await this.#keep(end)) || first || this.#held.size > MAX_HELD) break;
    }
    return { archived: this.#archived, owedBy: this.#owedBy };
  }

  /** Archives messages that no checkpoint owes, but for dead letters, and what is behind them in their streams. */
  async #archive(due: readonly RecordedEvent[], owed: OwedMessages): Promise<void> {
    const letters = await owed.deadLettersAmong(due);
    const ends = new Map<string, number>();
    for (const { stream, revision, position } of due) {
      const processor = letters.get(position);
      if (processor !== undefined) {
        this.#held.add(stream);
        this.#owedBy ??= processor;
      }
      if (this.#held.has(stream)) this.#firstHeld = Math.min(this.#firstHeld, position);
      else ends.set(stream, revision + 1);
    }
    for (const [stream, before] of ends) this.#archived += await this.#truncate(stream, before);
  }

  async #truncate(stream: string, before: number): Promise<number> {
    const { log } = this.#context;
    // Behind a message that was held before, an earlier call has been here.
    if (this.#firstHeld < Infinity) {
      const hot = await log.readStream(stream, { to: before - 1, limit: 1 }).toArray();
      if (hot.length === 0) return 0;
    }
    return log.truncateStream(stream, { before });
  }

  /** Writes down how far it is; false if another call has taken over. */
  async #keep(end: number): Promise<boolean> {
    const { state } = this.#context;
    const to = Math.min(end, this.#firstHeld - 1);
    if (to > this.#place) {
      const [moved] = await state.advanceAll([{ lease: this.#lease, from: this.#place, to }]);
      if (!moved) return false;
      this.#place = to;
    }
    const [renewed = false] = await state.renewLeases([this.#lease], LEASE_MS);
    return renewed;
  }
}
