import { aggregateInternals, type Aggregate } from '../aggregates/aggregate.js';
import type { AggregateType } from '../aggregates/aggregate-type.js';

/** Aggregates that are kept from one batch to the next, at most. */
const MOST_KEPT = 1000;

interface Loaded<A extends Aggregate = Aggregate> {
  readonly type: AggregateType<A>;
  readonly aggregate: Promise<A>;
}

/** @internal The aggregates of a batch by their streams, and the most recent ones of the batches before it. */
export class LoadedAggregates {
  readonly #loaded = new Map<string, Loaded>();
  readonly #kept = new Map<string, Loaded>();

  /** The aggregate of a stream, as this batch has it or as `restore` makes it, given what an earlier batch has kept. */
  async get<A extends Aggregate>(
    type: AggregateType<A>,
    stream: string,
    restore: (kept: A | undefined) => Promise<A>,
  ): Promise<A> {
    const known = this.#loaded.get(stream);
    // What is kept under a type was made by that type.
    if (known?.type === type) return known.aggregate as Promise<A>;
    const kept = this.#kept.get(stream);
    this.#kept.delete(stream);
    const aggregate = restored(kept?.type === type ? (kept.aggregate as Promise<A>) : undefined, restore);
    this.#loaded.set(stream, { type, aggregate });
    try {
      return await aggregate;
    } catch (error) {
      this.#loaded.delete(stream);
      throw error;
    }
  }

  /** Forgets an aggregate that is no longer what counts. */
  forget(stream: string): void {
    this.#loaded.delete(stream);
    this.#kept.delete(stream);
  }

  /** Ends a batch: what it has loaded is kept for the next ones, if it is committed. */
  keep(): void {
    for (const [stream, loaded] of this.#loaded) {
      // Behind those that were used longer ago.
      this.#kept.delete(stream);
      this.#kept.set(stream, loaded);
    }
    this.#loaded.clear();
    for (const stream of this.#kept.keys()) {
      if (this.#kept.size <= MOST_KEPT) break;
      this.#kept.delete(stream);
    }
  }

  /** Forgets everything, since a batch was not committed. */
  clear(): void {
    this.#loaded.clear();
    this.#kept.clear();
  }
}

async function restored<A extends Aggregate>(
  kept: Promise<A> | undefined,
  restore: (kept: A | undefined) => Promise<A>,
): Promise<A> {
  const aggregate = await kept;
  // A callback may have kept the instance and recorded more on it.
  return restore(aggregate && hasPending(aggregate) ? undefined : aggregate);
}

function hasPending(aggregate: Aggregate): boolean {
  return aggregateInternals.peekPending(aggregate).length > 0;
}
