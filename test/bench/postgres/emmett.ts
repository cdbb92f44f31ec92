import {
  getPostgreSQLEventStore,
  pongoSingleStreamProjection,
  postgreSQLEventStoreConsumer,
  type PostgresEventStore,
  type PostgresReadEvent,
  type PostgresReadEventMetadata,
} from '@event-driven-io/emmett-postgresql';
import type { Event } from '@event-driven-io/emmett';
import postgres from 'postgres';
import {
  emptyStatement,
  fold,
  Withdrawn,
  type Deposited,
  type Movement,
  type Statement,
} from '../accounts.js';

type Moved = Event<'Deposited' | 'Withdrawn', { -readonly [Key in keyof Movement]: Movement[Key] }>;

/** A statement as Pongo's types want it. */
type Document = Statement & Record<string, unknown>;

/** `@event-driven-io/emmett-postgresql` on a database of its own, with its own schema and its default pool. */
export class Emmett {
  readonly #url: string;
  readonly #store: PostgresEventStore;
  readonly #witness: postgres.Sql;

  private constructor(url: string) {
    this.#url = url;
    this.#store = getPostgreSQLEventStore(url);
    this.#witness = postgres(url, { max: 1, onnotice: () => {} });
  }

  static async open(url: string): Promise<Emmett> {
    const emmett = new Emmett(url);
    await emmett.#store.schema.migrate();
    return emmett;
  }

  async append(stream: string, events: readonly (Deposited | Withdrawn)[]): Promise<void> {
    await this.#store.appendToStream<Moved>(stream, events.map(toMoved));
  }

  /**
   * Projects all events into documents of a new collection. Its defaults read 100 events at once and sleep for 50 ms after
   * each batch even while behind: here it reads 1,000 and sleeps for 1 ms.
   */
  async project(collectionName: string): Promise<void> {
    const consumer = postgreSQLEventStoreConsumer<Moved>({
      connectionString: this.#url,
      stopWhen: { noMessagesLeft: true },
      pulling: { batchSize: 1000, pullingFrequencyInMs: 1 },
    });
    consumer.projector<Moved>({
      processorId: collectionName,
      projection: pongoSingleStreamProjection<Document, Moved, PostgresReadEventMetadata, Moved>({
        collectionName,
        canHandle: ['Deposited', 'Withdrawn'],
        initialState: () => ({ ...emptyStatement() }),
        evolve: (statement: Document, { type, data }: PostgresReadEvent<Moved>) => {
          const folded = { ...statement };
          fold(folded, data, type === 'Withdrawn' ? -1 : 1);
          return folded;
        },
      }),
    });
    await consumer.start();
    await consumer.close();
  }

  /** Calls `handle` for events appended from about now on, with its defaults, until what it returns is called. */
  follow(name: string, handle: (data: Movement) => void): () => Promise<void> {
    const consumer = postgreSQLEventStoreConsumer<Moved>({ connectionString: this.#url });
    consumer.reactor<Moved>({
      processorId: name,
      startFrom: 'END',
      eachMessage: ({ data }) => handle(data),
    });
    const running = consumer.start();
    return async () => {
      await consumer.close();
      await running;
    };
  }

  async #connections(): Promise<number> {
    const [row] = await this.#witness<{ count: number }[]>`
      select count(*)::int as count from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`;
    return row?.count ?? 0;
  }

  async count(): Promise<number> {
    const [row] = await this.#witness<{ count: number }[]>`select count(*)::int as count from emt_messages`;
    return row?.count ?? 0;
  }

  /** Whether the documents of a collection come to so many movements. */
  async projected(collectionName: string, movements: number): Promise<boolean> {
    const [row] = await this.#witness<{ sum: number }[]>`
      select sum((data->>'movements')::int)::int as sum from ${this.#witness(collectionName)}`;
    return row?.sum === movements;
  }

  /** Its document store keeps a share of the pool: the pool ends when the store is closed once for each. */
  async close(): Promise<void> {
    for (let tries = 0; tries < 1000 && (await this.#connections()) > 0; tries++) await this.#store.close();
    await this.#witness.end();
  }
}

function toMoved(event: Deposited | Withdrawn): Moved {
  return { type: event instanceof Withdrawn ? 'Withdrawn' : 'Deposited', data: { ...event } };
}
