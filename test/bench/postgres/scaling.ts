import { createApplication, delivery, type RecordedEvent } from '@refold/core';
import { setTimeout as sleep } from 'node:timers/promises';
import { Deposited, Withdrawn } from '../accounts.js';
import type { Bench } from '../harness.js';
import type { Logs } from './logs.js';

/** How long a handler waits for something outside of the process. */
const WAIT_MS = 2;

/** What each side handles: the last events of the log. */
const EVENTS = 3000;

let deliveries = 0;

/** Handlers that wait for something else: in several partitions of one worker, against one. */
export async function compareScaling(bench: Bench, logs: Logs): Promise<void> {
  const n = bench.quick ? EVENTS / 10 : EVENTS;
  for (const partitions of [4, 16]) {
    await bench.compare<number, number>({
      name: `handlers that wait ${WAIT_MS} ms, in ${partitions} partitions, raw being one partition`,
      unit: 'events',
      rounds: bench.quick ? 2 : 3,
      bar: { ratio: 0.6 * partitions },
      cases: [
        {
          length: logs.length,
          n,
          ours: () => handledInOrder(logs, partitions, n),
          raw: () => handledInOrder(logs, 1, n),
          correct: (ours, raw) => ours === n && raw === n,
        },
      ],
    });
  }
}

/** How many of the last events of the log a new delivery has handled, each behind those before it in its stream. */
async function handledInOrder(logs: Logs, partitions: number, count: number): Promise<number> {
  const revisions = new Map<string, number>();
  let handled = 0;
  const wait = async ({ stream, revision }: RecordedEvent): Promise<void> => {
    await sleep(WAIT_MS);
    const before = revisions.get(stream);
    revisions.set(stream, revision);
    if (before === undefined || revision === before + 1) handled += 1;
  };
  deliveries += 1;
  const waits = delivery(`waits_${deliveries}`, { partitions, startAt: { after: logs.length - count } })
    .on(Deposited, wait)
    .on(Withdrawn, wait);
  const app = createApplication({ store: logs.store, deliveries: [waits] });
  await app.catchUp();
  return handled;
}
