import { isDeepStrictEqual } from 'node:util';
import { ProcessorOutdatedError, UnsupportedError } from '../errors.js';
import type { Partition } from '../store/processor-state.js';
import type { Generation, GenerationDocuments, StateUnit } from '../store/state-store.js';
import { compareText } from '../store/text-order.js';
import type { ProcessorContext } from './context.js';
import { bringForward, withLog } from './in-transaction.js';
import type { Processor } from './processor.js';

/** A document that is not what a rebuild makes of the same events. */
export interface Difference {
  readonly collection: string;
  readonly key: string;
  /** What readers see; undefined if there is none. */
  readonly live: unknown;
  /** What a rebuild leads to; undefined if there is none. */
  readonly rebuilt: unknown;
}

/** What a verification found. */
export interface Verification {
  /** The position, of the partition that is least far, at which both were compared. */
  readonly position: number;
  /** How many documents were compared. */
  readonly documents: number;
  /** In the order of collections and keys. */
  readonly differences: readonly Difference[];
  /** There were more differences than were asked for. */
  readonly truncated: boolean;
}

/** How often a comparison begins anew because partitions were cut anew meanwhile. */
const MOST_TRIES = 5;

interface Suspect {
  readonly collection: string;
  readonly key: string;
}

/**
 * Compares the live read model with a shadow that is built from the same events: documents that differ, once both are at
 * the same position, have drifted, or their handlers are not pure. The live one is served and kept up meanwhile, but for
 * the moment of the last comparison.
 */
export class Verifier<Unit extends StateUnit> {
  readonly #processor: Processor<Unit>;
  readonly #context: ProcessorContext<Unit>;
  readonly #fill: (shadow: Generation) => Promise<boolean>;

  constructor(
    processor: Processor<Unit>,
    context: ProcessorContext<Unit>,
    fill: (shadow: Generation) => Promise<boolean>,
  ) {
    const table = processor.collections.find(({ kind }) => kind === 'table');
    if (table) {
      throw new UnsupportedError(
        `verifying the table "${table.name}"`,
        'only documents can be compared; use SQL for tables',
      );
    }
    this.#processor = processor;
    this.#context = context;
    this.#fill = fill;
  }

  /** @throws ProcessorStoppedError if a handler fails, the reason of the signal */
  async run(limit: number, signal: AbortSignal): Promise<Verification> {
    const { state } = this.#context;
    const { name, version, collections } = this.#processor;
    for (let tries = 1; ; tries++) {
      const live = await this.#live();
      if (!live) return { position: 0, documents: 0, differences: [], truncated: false };
      const shadow = await state.createGeneration(name, {
        version,
        collections,
        after: live.startedAfter,
        shadow: true,
      });
      try {
        const found = await this.#compare(live, shadow, limit, signal);
        if (found) return found;
        if (tries === MOST_TRIES)
          throw new Error(`"${name}" was rebuilt or cut anew whenever it was to be verified`);
      } finally {
        await state.dropGeneration(name, shadow.generation);
      }
    }
  }

  async #live(): Promise<Generation | undefined> {
    const { name, version } = this.#processor;
    const live = (await this.#context.state.generations(name)).find(({ status }) => status === 'live');
    if (live && live.version !== version) throw new ProcessorOutdatedError(name, version, live.version);
    return live;
  }

  /** Undefined if the live one was swapped or cut anew meanwhile. */
  async #compare(
    live: Generation,
    shadow: Generation,
    limit: number,
    signal: AbortSignal,
  ): Promise<Verification | undefined> {
    await this.#cutAlike(live, shadow);
    if (!(await this.#fill(shadow))) {
      signal.throwIfAborted();
      return undefined;
    }
    const { suspects, documents } = await this.#suspects(live, shadow, signal);
    return this.#context.state.transaction(async (unit) => {
      const now = await unit.live(live.processor);
      if (now?.generation.generation !== live.generation) return undefined;
      if (!(await this.#bringAlike(now.partitions, shadow, unit))) return undefined;
      const differences = await this.#confirmed(suspects, live, shadow, limit + 1, unit);
      return {
        position: Math.min(...now.partitions.map(({ position }) => position)),
        documents,
        differences: differences.slice(0, limit),
        truncated: differences.length > limit,
      };
    });
  }

  /** Partitions of the same ranges, so that each can come to where its counterpart is. */
  async #cutAlike(live: Generation, shadow: Generation): Promise<void> {
    const { state } = this.#context;
    const ranges = (await state.partitions(live.processor)).filter(
      ({ generation }) => generation === live.generation,
    );
    const cuts = ranges.map(({ firstSlice }) => firstSlice).filter((slice) => slice > 0);
    let firstSlice = 0;
    for (const at of cuts) {
      await state.splitPartition({ ...shadow, firstSlice }, at);
      firstSlice = at;
    }
  }

  async #bringAlike(live: readonly Partition[], shadow: Generation, unit: Unit): Promise<boolean> {
    const { state, codec } = this.#context;
    const all = await state.partitions(shadow.processor);
    const own = all.filter(({ generation }) => generation === shadow.generation);
    if (own.length !== live.length || live.some(({ ahead }) => ahead.length > 0)) return false;
    for (const partition of own) {
      const counterpart = live.find(({ firstSlice }) => firstSlice === partition.firstSlice);
      if (!counterpart || counterpart.position < partition.position) return false;
      const parked = new Set(await state.parkedSequences(partition));
      await bringForward(this.#processor, partition, withLog(unit), {
        codec,
        to: counterpart.position,
        isReplay: () => true,
        letterOf: (_, { key }) => (key !== undefined && parked.has(key) ? 'skip' : undefined),
      });
    }
    return true;
  }

  /** What differs while both move: that includes documents which one of them has only not come to yet. */
  async #suspects(
    live: Generation,
    shadow: Generation,
    signal: AbortSignal,
  ): Promise<{ suspects: Suspect[]; documents: number }> {
    const { state } = this.#context;
    const suspects: Suspect[] = [];
    let documents = 0;
    for (const collection of live.collections) {
      const pairs = paired(
        state.documentsOf(collection, live.generation),
        state.documentsOf(collection, shadow.generation),
      );
      for await (const { key, left, right } of pairs) {
        signal.throwIfAborted();
        documents += 1;
        if (!isDeepStrictEqual(left, right)) suspects.push({ collection, key });
      }
    }
    return { suspects, documents };
  }

  async #confirmed(
    suspects: readonly Suspect[],
    live: Generation,
    shadow: Generation,
    limit: number,
    unit: Unit,
  ): Promise<Difference[]> {
    const differences: Difference[] = [];
    for (const { collection, key } of suspects) {
      const [left, right] = await Promise.all(
        [live, shadow].map(({ generation }) => unit.documents(collection, generation).getMany([key])),
      );
      const [seen, rebuilt] = [left?.get(key), right?.get(key)];
      if (!isDeepStrictEqual(seen, rebuilt)) differences.push({ collection, key, live: seen, rebuilt });
      if (differences.length >= limit) break;
    }
    return differences;
  }
}

interface Pair {
  readonly key: string;
  readonly left: unknown;
  readonly right: unknown;
}

/** Two collections side by side, in the order of their keys. */
async function* paired(left: GenerationDocuments, right: GenerationDocuments): AsyncGenerator<Pair> {
  const lefts = left.entries()[Symbol.asyncIterator]();
  const rights = right.entries()[Symbol.asyncIterator]();
  let [a, b] = await Promise.all([nextOf(lefts), nextOf(rights)]);
  while (a || b) {
    const order = a && b ? compareText(a[0], b[0]) : a ? -1 : 1;
    const [key, value] = (order <= 0 ? a : b) ?? ['', undefined];
    yield { key, left: order <= 0 ? value : undefined, right: order >= 0 ? b?.[1] : undefined };
    if (order <= 0) a = await nextOf(lefts);
    if (order >= 0) b = await nextOf(rights);
  }
}

async function nextOf(entries: AsyncIterator<[string, unknown]>): Promise<[string, unknown] | undefined> {
  const next = await entries.next();
  return next.done === true ? undefined : next.value;
}
