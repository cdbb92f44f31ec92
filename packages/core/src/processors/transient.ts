import type { Clock } from '../clock.js';
import { StoreBusyError, StoreUnavailableError } from '../errors.js';
import type { Logger } from '../logger.js';

/** The store may answer again soon. What became of a transaction under way shows in the checkpoint, which is read anew. */
export function isTransient(error: unknown): error is StoreBusyError | StoreUnavailableError {
  return error instanceof StoreBusyError || error instanceof StoreUnavailableError;
}

/**
 * Does work that can be done again, until it ends otherwise than by a store that is busy or out of reach, or until the
 * signal aborts. Waits in between from 50 ms, doubling to 5 s, with jitter, so that many do not come back in step.
 */
export async function untilAvailable<Result>(
  what: string,
  work: () => Promise<Result>,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
): Promise<Result> {
  for (let failures = 1; ; failures++) {
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error) || signal.aborted) throw error;
      logger.warn(`${what} tries again: ${error.message}`);
      await clock.sleep(Math.min(5000, 25 * 2 ** failures) * (0.5 + Math.random() / 2), signal);
    }
  }
}
