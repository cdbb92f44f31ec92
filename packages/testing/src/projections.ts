import {
  createApplication,
  DocumentProjection,
  EventCodec,
  type EventMetadata,
  type EventType,
  memoryStore,
  type Projection,
  silentLogger,
  type StateStore,
  systemClock,
} from '@refold/core';
import { expectEqual, fail, shown } from './failure.js';
import { throughJson } from './round-trip.js';

/** An event of a projection's history, as it stands in the log. */
export interface GivenEvent {
  readonly stream: string;
  readonly event: object;
  readonly metadata?: EventMetadata;
  /** Default: now. */
  readonly recordedAt?: Date;
}

/** What a projection under test needs to know beside its history. */
export interface ProjectOptions {
  /** Plain event types in the history that the projection does not handle. Classes need not be named. */
  readonly events?: readonly EventType[];
}

/** The documents of a document projection after its history. Await each check; any number may be made. */
export interface ProjectedDocuments<Doc> {
  /** There is this document under the key; with `undefined`, there is none. */
  thenDocument(key: string, expected: Doc | undefined): Promise<void>;
  /** There are exactly these documents, by key. */
  thenDocuments(expected: Readonly<Record<string, Doc>>): Promise<void>;
}

/** The document collections of a custom projection after its history. Await each check; any number may be made. */
export interface ProjectedCollections {
  /** There is this document in the collection; with `undefined`, there is none. */
  thenDocument(collection: string, key: string, expected: unknown): Promise<void>;
  /** There are exactly these documents in the collection, by key. */
  thenDocuments(collection: string, expected: Readonly<Record<string, unknown>>): Promise<void>;
}

/**
 * Tests a projection by a history of events. It runs in an application of its own on the in-memory store, as it runs in
 * production: events are stored, read back and handled.
 *
 * ```ts
 * await project(balances, [
 *   { stream: 'account-1', event: new Deposited(5) },
 *   { stream: 'account-1', event: new Withdrawn(2) },
 * ]).thenDocument('1', { total: 3 });
 * ```
 *
 * A document projection runs twice, event by event and all at once, and both must come to the same documents: what they
 * hold may depend on events only, never on how those are batched. A custom projection runs once, event by event.
 * @throws ProcessorStoppedError from the checks if a handler throws
 */
export function project<Doc>(
  projection: DocumentProjection<Doc>,
  history: readonly GivenEvent[],
  options?: ProjectOptions,
): ProjectedDocuments<Doc>;
export function project(
  projection: Projection,
  history: readonly GivenEvent[],
  options?: ProjectOptions,
): ProjectedCollections;
export function project(
  projection: Projection,
  history: readonly GivenEvent[],
  options: ProjectOptions = {},
): ProjectedDocuments<unknown> | ProjectedCollections {
  const run = new ProjectionRun(projection, history, options);
  if (!(projection instanceof DocumentProjection)) return run;
  const { name } = projection;
  return {
    thenDocument: (key: string, expected: unknown) => run.thenDocument(name, key, expected),
    thenDocuments: (expected: Documents) => run.thenDocuments(name, expected),
  };
}

type Documents = Readonly<Record<string, unknown>>;

/** Runs a projection over a history once, at the first check. */
class ProjectionRun implements ProjectedCollections {
  readonly #projection: Projection;
  readonly #history: readonly GivenEvent[];
  readonly #options: ProjectOptions;
  #documents: Promise<ReadonlyMap<string, Documents>> | undefined;

  constructor(projection: Projection, history: readonly GivenEvent[], options: ProjectOptions) {
    this.#projection = projection;
    this.#history = history;
    this.#options = options;
  }

  async thenDocument(collection: string, key: string, expected: unknown): Promise<void> {
    const documents = await this.#of(collection);
    const actual = Object.hasOwn(documents, key) ? documents[key] : undefined;
    if (actual === undefined && expected !== undefined) {
      const keys = Object.keys(documents).map(shown).join(', ');
      fail(
        `There is no document ${shown(key)} in "${collection}"; ${keys ? `there are ${keys}` : 'it is empty'}`,
      );
    }
    expectEqual(actual, expected, `Document ${shown(key)} of "${collection}" is not the expected one`);
  }

  async thenDocuments(collection: string, expected: Documents): Promise<void> {
    expectEqual(
      await this.#of(collection),
      { ...expected },
      `The documents of "${collection}" are not the expected ones`,
    );
  }

  async #of(collection: string): Promise<Documents> {
    const documents = (await (this.#documents ??= this.#run())).get(collection);
    if (documents) return documents;
    const names = this.#projection.collections.map(({ name }) => `"${name}"`).join(', ');
    return fail(
      `Projection "${this.#projection.name}" has no collection "${collection}", it has ${names || 'none'}`,
    );
  }

  async #run(): Promise<ReadonlyMap<string, Documents>> {
    let recordedAt: Date | undefined;
    const now = (): number => (recordedAt ?? new Date()).getTime();
    await using store = memoryStore({ clock: { ...systemClock, now } });
    const projection = this.#projection;
    const application = createApplication({
      store,
      projections: [projection],
      events: this.#eventTypes(),
      logger: silentLogger,
    });
    for (const [index, given] of this.#history.entries()) {
      this.#checkRoundTrip(given, index);
      recordedAt = given.recordedAt;
      await application.append(given.stream, [given.event], { metadata: given.metadata });
    }
    recordedAt = undefined;
    await application.catchUp({ batchSize: 1 });
    const documents = await this.#read(store);
    if (projection instanceof DocumentProjection) {
      await application.rebuild(projection);
      const rebuilt = (await this.#read(store)).get(projection.name);
      expectEqual(
        rebuilt,
        documents.get(projection.name),
        `Projection "${projection.name}" comes to other documents when it handles all events at once`,
      );
    }
    return documents;
  }

  #checkRoundTrip({ stream, event }: GivenEvent, index: number): void {
    const codec = new EventCodec([...this.#projection.eventTypes, ...this.#eventTypes()]);
    throughJson(codec, event, `Given event ${index + 1}, ${shown(event)},`, { stream, revision: index });
  }

  /** Types beside the projection's own: those of the options, and the classes of events that it ignores. */
  #eventTypes(): EventType[] {
    const classes = this.#history.map(({ event }) => event.constructor as EventType);
    return [...new Set([...(this.#options.events ?? []), ...classes])].filter((type) => type !== Object);
  }

  async #read(store: Pick<StateStore, 'documents'>): Promise<ReadonlyMap<string, Documents>> {
    const read = new Map<string, Documents>();
    for (const { name, kind } of this.#projection.collections) {
      if (kind !== 'documents') continue;
      const entries: [string, unknown][] = [];
      for await (const entry of store.documents(name).entries()) entries.push(entry);
      read.set(name, Object.fromEntries(entries));
    }
    return read;
  }
}
