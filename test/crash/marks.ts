import { existsSync, openSync, readFileSync, writeSync } from 'node:fs';

/** Notes in a file when a projection begins a batch and when the batch is committed. */
export class Marks {
  readonly #file: number;
  readonly #begun = new Set<string>();

  constructor(file: string) {
    this.#file = openSync(file, 'a');
  }

  handling(projection: string): void {
    if (this.#begun.has(projection)) return;
    this.#begun.add(projection);
    writeSync(this.#file, `begun ${projection}\n`);
  }

  committed(projection: string): void {
    this.#begun.delete(projection);
    writeSync(this.#file, `committed ${projection}\n`);
  }
}

/** The projections that were in the midst of a batch when the process that wrote the marks ended. */
export function batchesBegun(file: string): string[] {
  const begun = new Set<string>();
  if (!existsSync(file)) return [];
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [what, projection = ''] = line.split(' ');
    if (what === 'begun') begun.add(projection);
    else begun.delete(projection);
  }
  return [...begun];
}
