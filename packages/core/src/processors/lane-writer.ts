import { LeaseLostError } from '../errors.js';
import { GroupCommit } from '../store/group-commit.js';
import type { DeadLetter, Lease, Move, SliceProgress } from '../store/processor-state.js';
import type { StateStore, StateUnit } from '../store/state-store.js';

/** Moves the checkpoints of a worker's partitions that have nothing else to write, many in one statement. */
export class Checkpoints {
  readonly #moves: GroupCommit<Move, boolean>;

  constructor(state: Pick<StateStore, 'advanceAll'>) {
    this.#moves = new GroupCommit(async (moves) => {
      const done = await state.advanceAll(moves);
      return done.map((value) => ({ value }));
    });
  }

  /** @throws LeaseLostError */
  async move(lease: Lease, from: number, to: number): Promise<void> {
    if (await this.#moves.submit({ lease, from, to })) return;
    throw new LeaseLostError(lease.processor, lease.token);
  }
}

/** What is written together with a checkpoint. */
export interface Write<Unit extends StateUnit> {
  readonly letters?: readonly DeadLetter[];
  readonly effects?: (unit: Unit) => Promise<void>;
}

/** The checkpoint of one partition under one lease, and all that is written under it. */
export class LaneWriter<Unit extends StateUnit> {
  readonly lease: Lease;
  readonly #state: StateStore<Unit>;
  readonly #checkpoints: Checkpoints;
  #ahead: readonly SliceProgress[];
  #position: number;
  /** What the store has; behind `#position` while the partition passes over events that are not its own. */
  #stored: number;

  constructor(lease: Lease, state: StateStore<Unit>, checkpoints: Checkpoints) {
    this.lease = lease;
    this.#state = state;
    this.#checkpoints = checkpoints;
    this.#ahead = lease.ahead;
    this.#position = lease.position;
    this.#stored = lease.position;
  }

  /** Everything up to here is done. */
  get position(): number {
    return this.#position;
  }

  /** How far the position is ahead of the stored checkpoint. */
  get unstored(): number {
    return this.#position - this.#stored;
  }

  /** Parts of the partition that are further than its position. */
  get ahead(): readonly SliceProgress[] {
    return this.#ahead;
  }

  /** Passes over events that are not the partition's own; `store` writes it down later. */
  passTo(position: number): void {
    if (position > this.#position) this.#reach(position);
  }

  /** Writes down what was passed over. @throws LeaseLostError */
  async store(): Promise<void> {
    const position = this.#position;
    if (position === this.#stored) return;
    await this.#checkpoints.move(this.lease, this.#stored, position);
    this.#stored = position;
  }

  /**
   * Moves the checkpoint, together with effects and dead letters in one transaction where there are some.
   * @throws LeaseLostError, and what `effects` throws: then nothing of it has happened
   */
  async move(through: number, { letters = [], effects }: Write<Unit> = {}): Promise<void> {
    const to = Math.max(through, this.#position);
    if (letters.length === 0 && !effects) {
      this.#reach(to);
      return this.store();
    }
    await this.#state.transaction(async (unit) => {
      // First the checkpoint: whoever lost the lease must not even touch tables that may be gone.
      await unit.advance(this.lease, this.#stored, to);
      if (letters.length > 0) await unit.park(letters);
      await effects?.(unit);
    });
    this.#reach(to);
    this.#stored = to;
  }

  /** A transaction under the lease that leaves the checkpoint where it is. @throws like `move` */
  async within(work: (unit: Unit) => Promise<void>): Promise<void> {
    await this.store();
    await this.#state.transaction(async (unit) => {
      await unit.advance(this.lease, this.#stored, this.#stored);
      await work(unit);
    });
  }

  #reach(position: number): void {
    this.#position = position;
    if (this.#ahead.length > 0) this.#ahead = this.#ahead.filter((part) => part.position > position);
  }
}
