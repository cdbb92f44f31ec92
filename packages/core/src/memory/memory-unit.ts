import { InvalidArgumentError, LeaseLostError } from '../errors.js';
import { EventReader } from '../store/event-reader.js';
import type { LogUnit, ReadAllOptions } from '../store/event-store.js';
import { readAllRange } from '../store/read-range.js';
import type { DeadLetter, Fence, PartitionKey, Timer } from '../store/processor-state.js';
import type { DocumentAccess, LiveGeneration, StateUnit } from '../store/state-store.js';
import { checkOpen, type TransactionScope } from '../store/transaction-scope.js';
import { documentAccess } from './memory-documents.js';
import type { MemoryLog, StoredEvent } from './memory-log.js';
import { tableName, type MemoryState } from './memory-state.js';
import type { MemoryTable } from './memory-table.js';

/** A transaction on a memory store: what it writes shows only through it until it commits. */
export class MemoryUnit implements StateUnit, LogUnit {
  readonly #scope: TransactionScope;
  readonly #state: MemoryState;
  readonly #log: MemoryLog;
  readonly #staged: readonly StoredEvent[];

  /** @internal `transaction` and inline hooks hand it out. */
  constructor(
    scope: TransactionScope,
    state: MemoryState,
    log: { readonly committed: MemoryLog; readonly staged: readonly StoredEvent[] },
  ) {
    this.#scope = scope;
    this.#state = state;
    this.#log = log.committed;
    this.#staged = log.staged;
  }

  /** @throws InvalidArgumentError when used, if the generation has no such collection */
  documents(collection: string, generation: number): DocumentAccess {
    return documentAccess(() => this.#table(collection, generation), collection);
  }

  table(collection: string, generation: number): string {
    return tableName(collection, generation);
  }

  async advance(lease: Fence, from: number, to: number): Promise<void> {
    this.#check();
    if (this.#state.partitions.advance({ lease, from, to })) return;
    throw new LeaseLostError(lease.processor, lease.token);
  }

  async park(letters: readonly DeadLetter[]): Promise<void> {
    this.#check();
    this.#state.letters.park(letters);
  }

  async unpark(letter: Pick<DeadLetter, 'processor' | 'generation' | 'position'>): Promise<boolean> {
    this.#check();
    return this.#state.letters.unpark(letter);
  }

  async setTimers(
    owner: Pick<PartitionKey, 'processor' | 'generation'>,
    timers: readonly Timer[],
  ): Promise<void> {
    this.#check();
    this.#state.timers.set(owner, timers);
  }

  async removeTimers(
    owner: Pick<PartitionKey, 'processor' | 'generation'>,
    timers: readonly Pick<Timer, 'sequence' | 'name'>[],
  ): Promise<readonly boolean[]> {
    this.#check();
    return this.#state.timers.remove(owner, timers);
  }

  async live(processor: string): Promise<LiveGeneration | undefined> {
    this.#check();
    return this.#state.live(processor);
  }

  async activate(processor: string, generation: number): Promise<void> {
    this.#check();
    this.#state.activate(processor, generation);
  }

  /** Reads the log with the events of this transaction's own append. */
  readAll(options?: ReadAllOptions): EventReader {
    return new EventReader(this.#log.readAll(readAllRange(options), () => this.#check(), this.#staged));
  }

  #table(collection: string, generation: number): MemoryTable<string> {
    this.#check();
    const table = this.#state.documents(collection, generation);
    if (table) return table;
    throw new InvalidArgumentError(
      'collection',
      tableName(collection, generation),
      'must belong to a generation',
    );
  }

  #check(): void {
    checkOpen(this.#scope);
  }
}
