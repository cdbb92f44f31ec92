import { toJson } from '../store/prepare-append.js';
import type { PartitionKey, SliceRange, Timer } from '../store/processor-state.js';
import { keyOf, MemoryTable } from './memory-table.js';

type Owner = Pick<PartitionKey, 'processor' | 'generation'>;
type StoredTimer = Owner & Omit<Timer, 'data'> & { readonly data: string };

/** Timers; as a layer over others, those that a transaction sees. */
export class MemoryTimers {
  readonly #rows: MemoryTable<StoredTimer>;

  constructor(below?: MemoryTimers) {
    this.#rows = new MemoryTable(below ? below.#rows : undefined);
  }

  /** Writes this layer into what is below it. */
  commit(): void {
    this.#rows.commit();
  }

  set({ processor, generation }: Owner, timers: readonly Timer[]): void {
    for (const { sequence, slice, name, dueAt, data } of timers) {
      const json = toJson(data, `timer "${name}" of ${sequence}`);
      const timer = { processor, generation, sequence, slice, name, dueAt: new Date(dueAt), data: json };
      this.#rows.set(timerKey(timer, timer), timer);
    }
  }

  remove(owner: Owner, timers: readonly Pick<Timer, 'sequence' | 'name'>[]): boolean[] {
    return timers.map((timer) => {
      const key = timerKey(owner, timer);
      const found = this.#rows.get(key) !== undefined;
      if (found) this.#rows.delete(key);
      return found;
    });
  }

  removeAll(owner: Owner): void {
    for (const timer of this.#of(owner)) this.#rows.delete(timerKey(owner, timer));
  }

  first(partition: PartitionKey & SliceRange, limit: number): Timer[] {
    return this.#of(partition)
      .filter(({ slice }) => partition.firstSlice <= slice && slice <= partition.lastSlice)
      .sort((a, b) => a.dueAt.getTime() - b.dueAt.getTime())
      .slice(0, limit)
      .map(({ sequence, slice, name, dueAt, data }) => {
        return { sequence, slice, name, dueAt: new Date(dueAt), data: JSON.parse(data) as unknown };
      });
  }

  #of({ processor, generation }: Owner): StoredTimer[] {
    return this.#rows.rows().filter((one) => one.processor === processor && one.generation === generation);
  }
}

function timerKey(
  { processor, generation }: Owner,
  { sequence, name }: Pick<Timer, 'sequence' | 'name'>,
): string {
  return keyOf(processor, generation, sequence, name);
}
