import { toJson } from '../store/prepare-append.js';
import type { WorkerPresence } from '../store/processor-state.js';

type StoredWorker = Omit<WorkerPresence, 'report'> & { readonly report: string; readonly expiresAt: number };

/** Who works here. No transaction writes it, so there are no layers. */
export class MemoryWorkers {
  readonly #workers = new Map<string, StoredWorker>();

  announce({ name, processors, report }: WorkerPresence, now: number, ttlMs: number): WorkerPresence[] {
    const json = toJson(report, `report of worker "${name}"`);
    this.#workers.set(name, { name, processors: [...processors], report: json, expiresAt: now + ttlMs });
    for (const worker of this.#workers.values()) {
      if (worker.expiresAt <= now) this.#workers.delete(worker.name);
    }
    return this.live(now);
  }

  withdraw(name: string): void {
    this.#workers.delete(name);
  }

  live(now: number): WorkerPresence[] {
    return [...this.#workers.values()]
      .filter(({ expiresAt }) => expiresAt > now)
      .sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
      .map(({ name, processors, report }) => {
        return { name, processors: [...processors], report: JSON.parse(report) as unknown };
      });
  }
}
