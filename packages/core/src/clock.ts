import { setTimeout as sleep } from 'node:timers/promises';

/** Time as Refold sees it; a test can put its own in place of the system's. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds, or at once when the signal aborts (it never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Milliseconds since any moment, which nobody can set: leases end by it. Default: `now`. */
  monotonic?(): number;
}

/** The system's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  },
  monotonic: () => performance.now(),
};

/** @internal Milliseconds that are only good to be compared with each other. */
export function monotonicOf(clock: Clock): number {
  return clock.monotonic?.() ?? clock.now();
}
