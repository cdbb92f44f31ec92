import { aggregateInternals, revisionOf, type Aggregate } from '../aggregates/aggregate.js';
import type { AggregateType } from '../aggregates/aggregate-type.js';
import type { Repository } from '../aggregates/repository.js';
import type { EventCodec } from '../events/codec.js';
import { causedBy, currentMetadata } from '../events/correlation.js';
import type { ExpectedRevision, NewEvent, RecordedEvent } from '../store/event-store.js';
import { DEFAULT_MAX_EVENT_BYTES, prepareEvent } from '../store/prepare-append.js';
import type { Timer } from '../store/processor-state.js';
import { sliceOf } from '../store/slices.js';
import type { StateUnit } from '../store/state-store.js';
import { effectId } from './effect-id.js';
import type { LoadedAggregates } from './loaded-aggregates.js';
import { PendingAppends, type WriteAppends } from './pending-appends.js';

/** @internal What a process manager needs of its application. */
export interface ProcessHost {
  readonly codec: EventCodec;
  /** A repository of an aggregate type. */
  repository<A extends Aggregate>(
    type: AggregateType<A>,
  ): Pick<Repository<A>, 'find' | 'refresh' | 'snapshotIfDue'>;
  /** Appends in a transaction, with every inline projection. */
  appendIn(transaction: StateUnit): WriteAppends;
  /** The ids of the events of a stream. */
  idsOf(stream: string): Promise<ReadonlySet<string>>;
}

/** Which processor, and which generation of it. */
interface Owner {
  readonly processor: string;
  readonly generation: number;
}

/**
 * What a process manager does about a batch of events, kept until the transaction that moves the checkpoint: nothing is
 * locked while handlers run. What one handler has done to an aggregate or a stream, the next one sees.
 */
export class ProcessBatch {
  readonly #host: ProcessHost;
  readonly #owner: Owner;
  readonly #appends = new PendingAppends();
  readonly #loaded: LoadedAggregates;
  /** Timers by sequence and name; without a due time those that are to be removed. */
  readonly #timers = new Map<string, Timer | Pick<Timer, 'sequence' | 'name'>>();
  /** How many events a cause has led to in a stream. */
  readonly #places = new Map<string, number>();
  readonly #snapshots: ((unit: StateUnit) => Promise<void>)[] = [];

  constructor(host: ProcessHost, loaded: LoadedAggregates, owner: Owner) {
    this.#host = host;
    this.#loaded = loaded;
    this.#owner = owner;
  }

  /** An aggregate as the log and this batch have it; an empty one if neither has. */
  async load<A extends Aggregate>(type: AggregateType<A>, id: string): Promise<A> {
    const stream = `${type.category}-${id}`;
    return this.#loaded.get(type, stream, (kept) => this.#restore(type, id, kept));
  }

  /** Throws away an aggregate whose callback failed half-way; it is made again from what counts. */
  forget(stream: string): void {
    this.#loaded.forget(stream);
  }

  /** Keeps what an aggregate has recorded. @throws ConcurrentAppendError, RevisionConflictError */
  save<A extends Aggregate>(type: AggregateType<A>, aggregate: A, cause: RecordedEvent): void {
    const pending = [...aggregateInternals.peekPending(aggregate)];
    if (pending.length === 0) return;
    const stream = `${type.category}-${aggregate.id}`;
    const before = revisionOf(aggregate);
    const expected = before < 0 ? 'no-stream' : before;
    this.#appends.add(stream, this.#encoded(stream, pending, cause), { expected, loaded: true });
    aggregateInternals.markSaved(aggregate, pending.length);
    if (type.snapshotEvery === undefined) return;
    this.#snapshots.push((unit) => this.#host.repository(type).snapshotIfDue(aggregate, before, unit));
  }

  /** Keeps events for a stream. @throws RevisionConflictError */
  append(stream: string, events: readonly object[], expected: ExpectedRevision, cause: RecordedEvent): void {
    this.#appends.add(stream, this.#encoded(stream, events, cause), { expected, loaded: false });
    this.forget(stream);
  }

  /** Keeps a timer, in the place of one of the same sequence and name. */
  schedule(timer: Omit<Timer, 'slice' | 'data'>, event: object, cause: RecordedEvent): void {
    const { sequence, name } = timer;
    const { processor } = this.#owner;
    const id = effectId({ processor, cause: cause.id, stream: `${processor}-${sequence}`, place: name });
    const data = { ...this.#host.codec.encode(event, currentMetadata(causedBy(cause))), id };
    // What cannot be appended must not be found out when the timer fires.
    prepareEvent(data, DEFAULT_MAX_EVENT_BYTES);
    this.#timers.set(JSON.stringify([sequence, name]), { ...timer, slice: sliceOf(sequence), data });
  }

  /** Keeps that a timer is to be removed. */
  cancel(timer: Pick<Timer, 'sequence' | 'name'>): void {
    this.#timers.set(JSON.stringify([timer.sequence, timer.name]), timer);
  }

  /** Writes everything. The appends come last: on some stores all others wait for them until the commit. */
  async write(unit: StateUnit): Promise<void> {
    const timers = [...this.#timers.values()];
    const set = timers.filter((timer): timer is Timer => 'dueAt' in timer);
    const removed = timers.filter((timer) => !('dueAt' in timer));
    if (set.length > 0) await unit.setTimers(this.#owner, set);
    if (removed.length > 0) await unit.removeTimers(this.#owner, removed);
    await this.#appends.write(this.#host.appendIn(unit));
    for (const snapshot of this.#snapshots) await snapshot(unit);
  }

  async #restore<A extends Aggregate>(type: AggregateType<A>, id: string, kept: A | undefined): Promise<A> {
    const repository = this.#host.repository(type);
    // Only the holder of the lease writes to the process manager's own streams.
    if (kept && type.category !== this.#owner.processor) await repository.refresh(kept);
    const aggregate = kept ?? (await repository.find(id)) ?? type.create(id);
    const pending = this.#appends.eventsOf(`${type.category}-${id}`);
    for (const event of pending) aggregateInternals.fold(aggregate, event);
    aggregateInternals.setRevision(aggregate, revisionOf(aggregate) + pending.length);
    return aggregate;
  }

  #encoded(
    stream: string,
    events: readonly object[],
    cause: RecordedEvent,
  ): { readonly stored: NewEvent; readonly event: object }[] {
    const { processor } = this.#owner;
    const metadata = currentMetadata(causedBy(cause));
    const counted = JSON.stringify([cause.id, stream]);
    const first = this.#places.get(counted) ?? 0;
    const encoded = events.map((event, index) => {
      const id = effectId({ processor, cause: cause.id, stream, place: first + index });
      return { stored: { ...this.#host.codec.encode(event, metadata), id }, event };
    });
    this.#places.set(counted, first + events.length);
    return encoded;
  }
}
