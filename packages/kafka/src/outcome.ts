import type { Message, SendResult } from '@refold/core';
import type { TransportUnavailableError } from '@refold/core';

/** What becomes of a batch while it is sent. */
export class Outcome {
  readonly #batch: readonly Message[];
  readonly #accepted = new Set<number>();
  readonly #errors = new Map<number, unknown>();
  /** From which message on those of a key are not sent. */
  readonly #held = new Map<string, number>();
  /** Why nothing more is sent, if it is so. */
  #ended: TransportUnavailableError | undefined;

  constructor(batch: readonly Message[]) {
    this.#batch = batch;
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Whether a message can be sent still: none of its key has failed before. */
  isOpen(index: number): boolean {
    return !this.#accepted.has(index) && !this.#isHeld(index);
  }

  accept(indexes: readonly number[]): void {
    for (const index of indexes) this.#accepted.add(index);
  }

  /** A message is not accepted: nothing of its key is sent behind it. */
  reject(index: number, error: unknown): void {
    const key = this.#batch[index]?.key;
    if (key !== undefined) this.#held.set(key, Math.min(index, this.#held.get(key) ?? index));
    this.#errors.set(index, error);
  }

  /** Nothing more is sent, and of what is in flight it is not known what has become of it. */
  end(error: TransportUnavailableError): void {
    this.#ended ??= error;
  }

  /** As it stands; what is neither accepted nor rejected fails with this reason unless another was given. */
  result(otherwise: TransportUnavailableError): SendResult {
    const failures = this.#batch.flatMap((_, index) => {
      if (this.#accepted.has(index)) return [];
      const error = this.#errors.get(index) ?? (this.#isHeld(index) ? undefined : (this.#ended ?? otherwise));
      return [error === undefined ? { index } : { index, error }];
    });
    return { failures };
  }

  #isHeld(index: number): boolean {
    const from = this.#held.get(this.#batch[index]?.key ?? '');
    return from !== undefined && from <= index;
  }
}
