import { setTimeout as sleep } from 'node:timers/promises';
import { RefoldError, type Application, type Partition, type StateUnit, type Store } from '@refold/core';
import { MOST_PARTITIONS, type Answer, type Command, type Steering } from './chaos-orders.js';

/** What commands may end with while everything is in motion: who asked came too late, or the database was away. */
const EXPECTED: readonly string[] = [
  'STORE_BUSY',
  'STORE_UNAVAILABLE',
  'INVALID_ARGUMENT',
  'PROCESSOR_STOPPED',
  'PROCESSOR_OUTDATED',
  'PROCESSOR_ROLLED_BACK',
  'DEAD_LETTER',
];

/** Steers the processors of an application as a user would, from a process that works on them too. */
export class Steersman<Unit extends StateUnit> {
  readonly #app: Application<Unit>;
  readonly #store: Store<Unit>;
  readonly #signal: AbortSignal;
  readonly #running = new Set<Promise<Answer>>();

  /** The signal ends what takes long. */
  constructor(app: Application<Unit>, store: Store<Unit>, signal: AbortSignal) {
    this.#app = app;
    this.#store = store;
    this.#signal = signal;
  }

  async obey(command: Command): Promise<Answer> {
    const answer = this.#answer(command);
    this.#running.add(answer);
    try {
      return await answer;
    } finally {
      this.#running.delete(answer);
    }
  }

  /** Resolves when nothing is being done. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #answer({ id, steering }: Command): Promise<Answer> {
    try {
      const problem = await this.#steer(steering);
      return { id, outcome: 'done', problem };
    } catch (error) {
      if (this.#signal.aborted && error === this.#signal.reason) return { id, outcome: 'aborted' };
      const code = error instanceof RefoldError ? error.code : 'UNKNOWN';
      if (EXPECTED.includes(code)) return { id, outcome: code };
      const text = error instanceof Error ? error.stack : String(error);
      return { id, outcome: code, problem: `${steering.what} of ${steering.processor} failed: ${text}` };
    }
  }

  async #steer({ what, processor, holdMs }: Steering): Promise<string | undefined> {
    const handle = this.#app.processor(processor);
    const signal = this.#signal;
    switch (what) {
      case 'split':
      case 'merge':
        if (what === 'merge' || (await handle.status()).partitions.length >= MOST_PARTITIONS) {
          await handle.merge();
        } else await handle.split();
        return undefined;
      case 'pause':
        return this.#pause(processor, holdMs);
      case 'resume':
        return void (await handle.resume());
      case 'rebuild':
        return void (await handle.rebuild({ signal }));
      case 'rollback':
        return void (await handle.rollback({ signal }));
      case 'reset':
        return void (await handle.reset());
      case 'retry':
        return void (await handle.deadLetters.retry());
      case 'discard': {
        const [first] = await handle.deadLetters.list({ limit: 1 });
        if (first) await handle.deadLetters.discard({ position: first.position }, 'chaos');
        return undefined;
      }
    }
  }

  /** While a pause lasts nothing may be committed. */
  async #pause(processor: string, holdMs: number): Promise<string | undefined> {
    const handle = this.#app.processor(processor);
    await handle.pause({ timeoutMs: holdMs });
    const before = await this.#store.partitions(processor);
    await sleep(holdMs);
    const after = await this.#store.partitions(processor);
    const isPaused = (await this.#store.pausedProcessors()).includes(processor);
    await handle.resume();
    const moved = before.find((one) => after.some((other) => isMoved(one, other)));
    return isPaused && moved ? `${processor} moved on from ${moved.position} while it was paused` : undefined;
  }
}

/** Whether events were handled in between; that partitions are cut and put together moves none of them on. */
function isMoved(before: Partition, after: Partition): boolean {
  return (
    before.generation === after.generation &&
    before.firstSlice === after.firstSlice &&
    before.lastSlice === after.lastSlice &&
    after.position > Math.max(before.position, ...before.ahead.map(({ position }) => position))
  );
}
