/**
 * Rows by key, alone or as a layer over another table: what is written to a layer shows only through it, until `commit`
 * moves it down.
 */
export class MemoryTable<Row> {
  readonly #below: MemoryTable<Row> | undefined;
  /** In a layer, `undefined` stands for a row that was deleted. */
  readonly #rows = new Map<string, Row | undefined>();

  constructor(below?: MemoryTable<Row>) {
    this.#below = below;
  }

  get(key: string): Row | undefined {
    return this.#rows.has(key) ? this.#rows.get(key) : this.#below?.get(key);
  }

  set(key: string, row: Row): void {
    this.#rows.set(key, row);
  }

  delete(key: string): void {
    if (this.#below) this.#rows.set(key, undefined);
    else this.#rows.delete(key);
  }

  /** All rows with their keys, in no promised order. */
  entries(): [key: string, row: Row][] {
    const entries: [string, Row][] = [];
    for (const entry of this.#below?.entries() ?? []) if (!this.#rows.has(entry[0])) entries.push(entry);
    for (const [key, row] of this.#rows) if (row !== undefined) entries.push([key, row]);
    return entries;
  }

  rows(): Row[] {
    return this.entries().map(([, row]) => row);
  }

  /** Writes this layer into the table below it. */
  commit(): void {
    for (const [key, row] of this.#rows) {
      if (row === undefined) this.#below?.delete(key);
      else this.#below?.set(key, row);
    }
    this.#rows.clear();
  }
}

/** A key made of several values. */
export function keyOf(...parts: readonly (string | number)[]): string {
  return JSON.stringify(parts);
}
