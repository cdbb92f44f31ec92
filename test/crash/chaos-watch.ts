import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { StoreBusyError, StoreUnavailableError, type Store } from '@refold/core';
import { processorNames, type ProcessorName } from './chaos-domain.js';

const LOOK_MS = 100;

/** Sees to it that readers are never taken back: whatever is swapped in is no less far than what was live before. */
export class ChaosWatch {
  readonly #store: Store;
  readonly #onProblem: (problem: string) => void;
  readonly #positions = new Map<ProcessorName, number>();
  readonly #ignored = new Set<ProcessorName>();
  readonly #watching: Promise<void>;
  #isOver = false;

  constructor(store: Store, onProblem: (problem: string) => void) {
    this.#store = store;
    this.#onProblem = onProblem;
    this.#watching = this.#run();
  }

  /** Watches a processor no more: it is about to be reset. */
  ignore(name: ProcessorName): void {
    this.#ignored.add(name);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#watching;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      for (const name of processorNames) {
        if (!this.#ignored.has(name)) await this.#look(name).catch((error: unknown) => this.#failed(error));
      }
      await sleep(LOOK_MS);
    }
  }

  async #look(name: ProcessorName): Promise<void> {
    const live = await this.#liveOf(name);
    const partitions = (await this.#store.partitions(name)).filter(({ generation }) => generation === live);
    // Between the two looks another may have come in its place: then what was seen is nothing.
    if (live === undefined || partitions.length === 0 || live !== (await this.#liveOf(name))) return;
    const position = Math.min(...partitions.map((one) => one.position));
    const before = this.#positions.get(name) ?? 0;
    if (position < before && !this.#ignored.has(name)) {
      this.#onProblem(`${name} went back from ${before} to ${position}, in generation ${live}`);
    }
    this.#positions.set(name, position);
  }

  async #liveOf(name: ProcessorName): Promise<number | undefined> {
    return (await this.#store.generations(name)).find(({ status }) => status === 'live')?.generation;
  }

  #failed(error: unknown): void {
    if (error instanceof StoreBusyError || error instanceof StoreUnavailableError) return;
    this.#onProblem(`a look at a processor failed: ${inspect(error)}`);
  }
}
