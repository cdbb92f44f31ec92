/** Why a partition's part of a request failed. */
export interface PartFailure {
  readonly error: unknown;
  /** Which of its records are stored all the same, by their place among them. */
  readonly stored: readonly number[];
}

/** Parts of a request failed, by `topic/partition`; all others are stored. Of clients that tell what became of each record. */
export class PartsFailedError extends Error {
  override readonly name = 'PartsFailedError';
  readonly failures: ReadonlyMap<string, PartFailure>;

  constructor(failures: ReadonlyMap<string, PartFailure>) {
    super(`${failures.size} parts of a request failed`);
    this.failures = failures;
  }
}

/** Some records of a partition's part are stored, and others are not. */
export class PartlyStoredError extends Error {
  override readonly name = 'PartlyStoredError';
  readonly stored: readonly number[];

  constructor({ error, stored }: PartFailure) {
    super(error instanceof Error ? error.message : String(error), { cause: error });
    this.stored = stored;
  }
}
