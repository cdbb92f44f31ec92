import type { Clock } from '../clock.js';
import { LeaseLostError, messageOf } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Lease } from '../store/processor-state.js';
import type { StateStore } from '../store/state-store.js';

export interface LeaseKeeperContext {
  readonly state: Pick<StateStore, 'renewLeases'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A lease that is being renewed. */
export interface KeptLease {
  /** Aborts with a LeaseLostError when the lease turns out to be lost. */
  readonly lost: AbortSignal;
  /** Ends the renewal; the lease itself stays until it is released or expires. */
  readonly stop: () => void;
}

/**
 * Renews all leases of a worker on one loop of its own, all in one call, so that neither busy handlers nor many
 * processors cost a database more than one small statement a period.
 */
export class LeaseKeeper {
  readonly #context: LeaseKeeperContext;
  readonly #leaseMs: number;
  readonly #kept = new Map<Lease, AbortController>();
  #stop: AbortController | undefined;

  constructor(context: LeaseKeeperContext, leaseMs: number) {
    this.#context = context;
    this.#leaseMs = leaseMs;
  }

  keep(lease: Lease): KeptLease {
    const lost = new AbortController();
    this.#kept.set(lease, lost);
    if (!this.#stop) {
      this.#stop = new AbortController();
      void this.#loop(this.#stop.signal);
    }
    return { lost: lost.signal, stop: () => this.#forget(lease) };
  }

  #forget(lease: Lease): void {
    this.#kept.delete(lease);
    if (this.#kept.size > 0) return;
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #loop(stop: AbortSignal): Promise<void> {
    for (;;) {
      await this.#context.clock.sleep(this.#leaseMs / 3, stop);
      if (stop.aborted) return;
      await this.#renew([...this.#kept.keys()]);
    }
  }

  async #renew(leases: readonly Lease[]): Promise<void> {
    const { state, logger } = this.#context;
    try {
      const held = await state.renewLeases(leases, this.#leaseMs);
      leases.forEach((lease, index) => {
        if (held[index]) return;
        this.#kept.get(lease)?.abort(new LeaseLostError(lease.processor, lease.token));
      });
    } catch (error) {
      const names = leases.map(({ processor }) => `"${processor}"`).join(', ');
      logger.warn(`renewing the lease of ${names} failed, trying again: ${messageOf(error)}`);
    }
  }
}
