/** What is looked at of librdkafka's statistics. Source: its STATISTICS.md. */
interface Statistics {
  readonly topics?: Readonly<
    Record<string, { readonly partitions?: Readonly<Record<string, PartitionStatistics>> }>
  >;
}

interface PartitionStatistics {
  /** What has arrived and was not taken. */
  readonly fetchq_cnt: number;
  /** What is fetched next. */
  readonly next_offset: number;
  /** Behind what was taken last, be it a record or a mark that ends a transaction. */
  readonly app_offset: number;
}

/** A place in a topic, in front of which nothing is left to handle. */
export interface PassedOffset {
  readonly topic: string;
  readonly partition: number;
  readonly next: number;
}

/** How long what was taken may be on its way to the handler, when the event loop turns. */
const ON_ITS_WAY_MS = 50;

/**
 * Finds out how far partitions were read where their last offsets hold no records, but the marks that end transactions:
 * librdkafka hands over records only, and tells of the rest in its statistics. An offset is believed when it is told twice, and
 * nothing is or was handled meanwhile: then no record is on its way any more.
 */
export class PassedOffsets {
  readonly #listener: (offset: PassedOffset) => void;
  readonly #told = new Map<string, { readonly next: number; readonly begun: number }>();
  #begun = 0;
  #running = 0;

  constructor(listener: (offset: PassedOffset) => void) {
    this.#listener = listener;
  }

  /** Handles records: nothing is passed over meanwhile. */
  async handling(work: () => Promise<void>): Promise<void> {
    this.#begun += 1;
    this.#running += 1;
    try {
      await work();
    } finally {
      this.#running -= 1;
    }
  }

  /** Takes statistics, as JSON. */
  take(statistics: string): void {
    const { topics = {} } = JSON.parse(statistics) as Statistics;
    for (const [topic, { partitions = {} }] of Object.entries(topics)) {
      for (const [partition, told] of Object.entries(partitions)) this.#look(topic, Number(partition), told);
    }
  }

  #look(topic: string, partition: number, { next_offset: next, ...told }: PartitionStatistics): void {
    const place = `${topic}/${partition}`;
    const before = this.#told.get(place);
    const begun = this.#begun;
    const isQuiet = next > 0 && told.fetchq_cnt === 0 && told.app_offset === next && this.#running === 0;
    if (isQuiet) this.#told.set(place, { next, begun });
    else this.#told.delete(place);
    if (!isQuiet || before?.next !== next || before.begun !== begun) return;
    setTimeout(() => {
      if (this.#begun === begun) this.#listener({ topic, partition, next });
    }, ON_ITS_WAY_MS);
  }
}
