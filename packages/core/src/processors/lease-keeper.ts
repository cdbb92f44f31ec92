import { monotonicOf, type Clock } from '../clock.js';
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
  /** Aborts when the lease turns out to be lost, or when it has run out since it could not be renewed. */
  readonly lost: AbortSignal;
  /** Ends the renewal; the lease itself stays until it is released or expires. */
  readonly stop: () => void;
}

interface Kept {
  readonly lost: AbortController;
  /** When it runs out, by this process's own clock: somebody else may have it from then on. */
  endsAt: number;
}

/**
 * Renews all leases of a worker on one loop of its own, all in one call, so that neither busy handlers nor many
 * processors cost a database more than one small statement a period. What could not be renewed in its time is lost.
 */
export class LeaseKeeper {
  readonly #context: LeaseKeeperContext;
  readonly #leaseMs: number;
  readonly #kept = new Map<Lease, Kept>();
  #stop: AbortController | undefined;

  constructor(context: LeaseKeeperContext, leaseMs: number) {
    this.#context = context;
    this.#leaseMs = leaseMs;
  }

  /** The moment to be told to `keep`; taken before the lease is asked for, which may take its time. */
  now(): number {
    return monotonicOf(this.#context.clock);
  }

  keep(lease: Lease, askedAt: number): KeptLease {
    const lost = new AbortController();
    this.#kept.set(lease, { lost, endsAt: askedAt + this.#leaseMs });
    if (!this.#stop) {
      this.#stop = new AbortController();
      void this.#renewals(this.#stop.signal);
      void this.#ends(this.#stop.signal);
    }
    return { lost: lost.signal, stop: () => this.#forget(lease) };
  }

  #forget(lease: Lease): void {
    this.#kept.delete(lease);
    if (this.#kept.size > 0) return;
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #renewals(stop: AbortSignal): Promise<void> {
    for (;;) {
      await this.#context.clock.sleep(this.#leaseMs / 3, stop);
      if (stop.aborted) return;
      await this.#renew([...this.#kept]);
    }
  }

  async #renew(kept: readonly (readonly [Lease, Kept])[]): Promise<void> {
    const { state, logger } = this.#context;
    const leases = kept.map(([lease]) => lease);
    const endsAt = this.now() + this.#leaseMs;
    try {
      const held = await state.renewLeases(leases, this.#leaseMs);
      kept.forEach(([{ processor, token }, one], index) => {
        if (held[index]) one.endsAt = endsAt;
        else one.lost.abort(new LeaseLostError(processor, token));
      });
    } catch (error) {
      const names = leases.map(({ processor }) => `"${processor}"`).join(', ');
      logger.warn(`renewing the lease of ${names} failed, trying again: ${messageOf(error)}`);
    }
  }

  /** Beside the renewals, one of which may be under way for long. A lease never ends before those that were kept first. */
  async #ends(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const now = this.now();
      for (const [{ processor }, { lost, endsAt }] of this.#kept)
        if (endsAt <= now) lost.abort(new LeaseEndedError(processor, this.#leaseMs));
      const next = Math.min(
        ...[...this.#kept.values()].map(({ lost, endsAt }) => (lost.signal.aborted ? Infinity : endsAt)),
      );
      await this.#context.clock.sleep(Math.min(Math.max(next - now, 1), this.#leaseMs), stop);
    }
  }
}

/** A lease ran out before it could be renewed. */
class LeaseEndedError extends Error {
  constructor(processor: string, leaseMs: number) {
    super(`The lease on processor "${processor}" ran out: it could not be renewed within ${leaseMs} ms`);
  }
}
