import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError, type EventStore, type StateUnit } from '@refold/core';
import { report, takeOrders, type Orders } from './orders.js';
import type { CrashTarget } from './target.js';
import { withTarget } from './targets.js';

/** Follows the log from its beginning, holds every event against the one before, and ends at the head that it is told. */
async function read<Unit extends StateUnit>(target: CrashTarget<Unit>, orders: Orders): Promise<void> {
  let end = Infinity;
  const told = new AbortController();
  process.on('message', (head: number) => {
    end = head;
    told.abort();
  });
  const store = await target.open(orders.place);
  const seen = new Follower();
  report('ready');
  while (seen.position < end) {
    try {
      await seen.follow(store);
      if (seen.position < end) await store.changes(seen.position, end === Infinity ? told.signal : undefined);
    } catch (error) {
      if (told.signal.aborted && error === told.signal.reason) continue;
      if (!(error instanceof StoreUnavailableError)) throw error;
      await sleep(20);
    }
  }
  await store.close();
  process.send?.({ read: seen.position });
  process.disconnect();
}

/** How far the log was read, and what the next event must be. */
class Follower {
  position = 0;
  readonly #revisions = new Map<string, number>();

  async follow(store: EventStore): Promise<void> {
    for await (const { position, stream, revision } of store.readAll({
      after: this.position,
      batchSize: 100,
    })) {
      if (position !== this.position + 1) throw new Error(`position ${position} follows ${this.position}`);
      const due = (this.#revisions.get(stream) ?? -1) + 1;
      if (revision !== due) throw new Error(`${stream} has revision ${revision} where ${due} is due`);
      this.#revisions.set(stream, revision);
      this.position = position;
    }
  }
}

const orders = takeOrders<Orders>();
await withTarget(orders.target, (target) => read(target, orders));
