import type { Clock } from '../clock.js';
import { InvalidArgumentError, LeaseLostError } from '../errors.js';
import { EventReader } from '../store/event-reader.js';
import type { LogUnit, ReadAllOptions, ReadStreamOptions } from '../store/event-store.js';
import type { ReceivedId, ReceivedPlace } from '../store/inbox-state.js';
import { readAllRange, readStreamRange } from '../store/read-range.js';
import type { DocumentAccess, LiveGeneration, Snapshot, StateUnit } from '../store/state-store.js';
import type { DeadLetter, Fence, PartitionKey, Timer } from '../store/processor-state.js';
import { checkOpen, type TransactionScope } from '../store/transaction-scope.js';
import { documentAccess } from './memory-documents.js';
import type { MemoryLog } from './memory-log.js';
import { tableName, type MemoryState } from './memory-state.js';
import type { MemoryTable } from './memory-table.js';

/** What a transaction on a memory store reads and writes: layers over what is committed. */
export interface MemoryLayer {
  readonly log: MemoryLog;
  readonly state: MemoryState;
}

/** A transaction on a memory store: what it writes shows only through it until it commits. */
export class MemoryUnit implements StateUnit, LogUnit {
  readonly #scope: TransactionScope;
  readonly #state: MemoryState;
  readonly #log: MemoryLog;
  readonly #clock: Clock;

  /** @internal `transaction` and inline hooks hand it out. */
  constructor(scope: TransactionScope, { state, log }: MemoryLayer, clock: Clock) {
    this.#scope = scope;
    this.#state = state;
    this.#log = log;
    this.#clock = clock;
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

  async receive(message: ReceivedId): Promise<boolean> {
    this.#check();
    return this.#state.inbox.receive(message, this.#clock.now());
  }

  async receiveInSequence(place: ReceivedPlace): Promise<boolean> {
    this.#check();
    return this.#state.inbox.receiveInSequence(place, this.#clock.now());
  }

  async live(processor: string): Promise<LiveGeneration | undefined> {
    this.#check();
    return this.#state.live(processor);
  }

  async activate(processor: string, generation: number): Promise<void> {
    this.#check();
    this.#state.activate(processor, generation);
  }

  async unprocessed(processor: string, generation: number): Promise<readonly number[]> {
    this.#check();
    return this.#state.unprocessed(processor, generation).map(({ position }) => position);
  }

  async loadSnapshot(stream: string): Promise<Snapshot | undefined> {
    this.#check();
    return this.#state.loadSnapshot(stream);
  }

  async saveSnapshot(snapshot: Snapshot): Promise<void> {
    this.#check();
    this.#state.saveSnapshot(snapshot);
  }

  /** Reads a stream with the events of this transaction's own appends. */
  readStream(stream: string, options?: ReadStreamOptions): EventReader {
    const range = readStreamRange(stream, options);
    return new EventReader(this.#log.readStream(stream, range, () => this.#check()));
  }

  /** Reads the log with the events of this transaction's own appends. */
  readAll(options?: ReadAllOptions): EventReader {
    return new EventReader(this.#log.readAll(readAllRange(options), () => this.#check()));
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
