import { Connection } from './connection.js';
import { makeAdmin, type KafkaAdmin, type KafkaClient } from './client.js';
import { problemOf } from './kafka-errors.js';

/** How long it is taken for granted how many partitions a topic has: as long as clients of Kafka do. */
const KNOWN_MS = 300_000;

/** What is asked about topics, through one administrating connection. */
export class Topics {
  readonly #admin: Connection<KafkaAdmin>;
  readonly #known = new Map<string, { readonly partitions: number; readonly until: number }>();

  constructor(kafka: KafkaClient) {
    this.#admin = new Connection(() => makeAdmin(kafka, { retries: 3, initialRetryTime: 100 }));
  }

  /** How many partitions a topic has. @throws what the client does, also if there is no such topic */
  async partitions(topic: string): Promise<number> {
    const known = this.#known.get(topic);
    if (known && known.until > Date.now()) return known.partitions;
    const partitions = countOf(await this.use((admin) => admin.fetchTopicMetadata({ topics: [topic] })));
    this.#known.set(topic, { partitions, until: Date.now() + KNOWN_MS });
    return partitions;
  }

  /** Has it be asked again how many partitions a topic has. */
  forget(topic: string): void {
    this.#known.delete(topic);
  }

  use<Result>(work: (admin: KafkaAdmin) => Promise<Result>): Promise<Result> {
    return this.#admin.use(work, (error) => problemOf(error) === 'unavailable');
  }

  close(): Promise<void> {
    return this.#admin.close();
  }
}

/** The clients answer with the same in two shapes. */
function countOf(metadata: unknown): number {
  const topics = Array.isArray(metadata) ? metadata : (metadata as { readonly topics: unknown[] }).topics;
  const [topic] = topics as { readonly partitions: readonly unknown[] }[];
  if (!topic || topic.partitions.length === 0) throw new Error('the topic has no partitions yet');
  return topic.partitions.length;
}
