import type {
  DeadLetter,
  LetterQuery,
  LetterSelection,
  PartitionKey,
  SliceRange,
} from '../store/processor-state.js';
import { keyOf, MemoryTable } from './memory-table.js';

/** Dead letters; as a layer over others, those that a transaction sees. */
export class MemoryLetters {
  readonly #rows: MemoryTable<DeadLetter>;

  constructor(below?: MemoryLetters) {
    this.#rows = new MemoryTable(below ? below.#rows : undefined);
  }

  /** Writes this layer into what is below it. */
  commit(): void {
    this.#rows.commit();
  }

  /** One that was given up in the meantime stays so. */
  park(letters: readonly DeadLetter[]): void {
    for (const letter of letters) {
      if (!this.#rows.get(letterKey(letter))?.discarded) this.#put(structuredClone(letter));
    }
  }

  unpark(letter: Pick<DeadLetter, 'processor' | 'generation' | 'position'>): boolean {
    const found = this.#rows.get(letterKey(letter));
    if (!found || found.discarded) return false;
    this.#rows.delete(letterKey(letter));
    return true;
  }

  removeAll(processor: string, generation: number): void {
    for (const letter of this.#of({ processor, generation })) this.#rows.delete(letterKey(letter));
  }

  list({ discarded = false, after = 0, limit = 100, ...selection }: LetterQuery): DeadLetter[] {
    return this.#of(selection)
      .filter((one) => (one.discarded !== undefined) === discarded && one.position > after)
      .slice(0, limit)
      .map((one) => structuredClone(one));
  }

  /** Those of a generation that hold something back. */
  open(owner: Pick<DeadLetter, 'processor' | 'generation'>): DeadLetter[] {
    return this.#of(owner).filter(holdsBack);
  }

  count(processor?: string): { processor: string; generation: number; count: number }[] {
    const counts = new Map<string, { processor: string; generation: number; count: number }>();
    for (const letter of this.#rows.rows().filter(holdsBack)) {
      if (processor !== undefined && letter.processor !== processor) continue;
      const key = keyOf(letter.processor, letter.generation);
      const { count } = counts.get(key) ?? { count: 0 };
      counts.set(key, { processor: letter.processor, generation: letter.generation, count: count + 1 });
    }
    return [...counts.values()].sort(
      (a, b) =>
        (a.processor < b.processor ? -1 : a.processor > b.processor ? 1 : 0) || a.generation - b.generation,
    );
  }

  sequences(partition: PartitionKey & SliceRange): string[] {
    return this.#firsts(partition)
      .filter((one) => isWithin(one, partition))
      .map(({ sequence }) => sequence);
  }

  due(partition: PartitionKey & SliceRange, now: Date, limit: number): DeadLetter[] {
    return this.#firsts(partition)
      .filter((one) => isWithin(one, partition) && isDue(one, now))
      .slice(0, limit)
      .map((one) => structuredClone(one));
  }

  retry(selection: LetterSelection, at: Date): number {
    const selected = new Set(
      this.#of(selection)
        .filter(holdsBack)
        .map(({ sequence }) => sequence),
    );
    const firsts = this.#firsts(selection).filter(({ sequence }) => selected.has(sequence));
    for (const first of firsts) this.#put({ ...first, retryAt: new Date(at) });
    return firsts.length;
  }

  discard(selection: LetterSelection, discarded: { readonly reason: string; readonly at: Date }): number {
    const selected = this.#of(selection).filter(holdsBack);
    for (const letter of selected) this.#put({ ...letter, discarded: structuredClone(discarded) });
    return selected.length;
  }

  #put(letter: DeadLetter): void {
    this.#rows.set(letterKey(letter), letter);
  }

  /** In the order of their positions. */
  #of({ processor, generation, sequence, position }: LetterSelection): DeadLetter[] {
    return this.#rows
      .rows()
      .filter(
        (one) =>
          one.processor === processor &&
          one.generation === generation &&
          (sequence === undefined || one.sequence === sequence) &&
          (position === undefined || one.position === position),
      )
      .sort((a, b) => a.position - b.position);
  }

  /** The first letter of each sequence that holds it back. */
  #firsts({ processor, generation }: Pick<DeadLetter, 'processor' | 'generation'>): DeadLetter[] {
    const firsts = new Map<string, DeadLetter>();
    for (const letter of this.#of({ processor, generation }).filter(holdsBack)) {
      if (!firsts.has(letter.sequence)) firsts.set(letter.sequence, letter);
    }
    return [...firsts.values()];
  }
}

function holdsBack({ discarded }: DeadLetter): boolean {
  return discarded === undefined;
}

function isWithin({ slice }: DeadLetter, { firstSlice, lastSlice }: SliceRange): boolean {
  return firstSlice <= slice && slice <= lastSlice;
}

function isDue({ attempts, retryAt }: DeadLetter, now: Date): boolean {
  return attempts === 0 || (retryAt !== undefined && retryAt <= now);
}

function letterKey({
  processor,
  generation,
  position,
}: Pick<DeadLetter, 'processor' | 'generation' | 'position'>): string {
  return keyOf(processor, generation, position);
}
