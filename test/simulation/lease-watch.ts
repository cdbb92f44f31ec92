import type { Fence, Lease, Move, Partition, PartitionKey } from '@refold/core';

/**
 * Knows, apart from the store, who may commit: the newest lease on every slice, until it is taken away. Whoever commits
 * with another has broken the exclusion.
 */
export class LeaseWatch {
  readonly #complain: (what: string) => void;
  #held: Lease[] = [];
  readonly #ended = new Map<string, number>();
  /** How often a checkpoint was moved. */
  commits = 0;
  /** How many leases were given. */
  grants = 0;

  constructor(complain: (what: string) => void) {
    this.#complain = complain;
  }

  granted(lease: Lease): void {
    this.grants += 1;
    for (const other of this.#held.filter((one) => overlap(one, lease))) {
      if (other.token >= lease.token && other.firstSlice === lease.firstSlice) {
        this.#complain(`token ${lease.token} of ${nameOf(lease)} is not greater than ${other.token}`);
      }
    }
    this.#take((one) => overlap(one, lease));
    this.#held.push(lease);
  }

  /** A split or a merge: what was there is no more. */
  reshaped({ processor, generation, firstSlice }: PartitionKey, partitions: readonly Partition[]): void {
    const now = partitions.filter((one) => one.processor === processor && one.generation === generation);
    const touched = (one: Lease): boolean =>
      !now.some((part) => part.firstSlice === one.firstSlice && part.lastSlice === one.lastSlice);
    this.#take(
      (one) =>
        one.processor === processor &&
        one.generation === generation &&
        (one.firstSlice === firstSlice || touched(one)),
    );
  }

  /** A pause that fences, a swap, or a generation that is dropped. */
  fenced(processor: string, generation?: number): void {
    this.#take(
      (one) => one.processor === processor && (generation === undefined || one.generation === generation),
    );
  }

  /** Whether a lease is still the newest on its slices. */
  isHeld(lease: Fence): boolean {
    return this.#held.some((one) => keyOf(one) === keyOf(lease));
  }

  committed({ lease, from, to }: Move): void {
    this.commits += 1;
    if (this.isHeld(lease)) return;
    this.#complain(`a lost lease has moved ${nameOf(lease)} from ${from} to ${to} with token ${lease.token}`);
  }

  /** A worker has been told that it has lost a lease; counts the batches that it begins after that. */
  told(lease: Fence): void {
    this.#ended.set(keyOf(lease), 0);
  }

  /** A worker begins a batch of effects that no transaction guards. */
  begun(lease: Fence): void {
    const since = this.#ended.get(keyOf(lease));
    if (since === undefined) return;
    this.#ended.set(keyOf(lease), since + 1);
    // What it has begun before it looks again is no fault.
    if (since >= 1) this.#complain(`${nameOf(lease)} goes on under token ${lease.token}, known to be lost`);
  }

  #take(which: (lease: Lease) => boolean): void {
    this.#held = this.#held.filter((one) => !which(one));
  }
}

function overlap(a: Lease, b: Lease): boolean {
  return (
    a.processor === b.processor &&
    a.generation === b.generation &&
    a.firstSlice <= b.lastSlice &&
    b.firstSlice <= a.lastSlice
  );
}

function keyOf({ processor, generation, firstSlice, token }: Fence): string {
  return `${processor} ${generation} ${firstSlice} ${token}`;
}

function nameOf({ processor, generation, firstSlice }: PartitionKey): string {
  return `"${processor}" generation ${generation} slice ${firstSlice}`;
}
