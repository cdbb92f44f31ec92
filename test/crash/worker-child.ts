import { setTimeout as sleep } from 'node:timers/promises';
import {
  StoreUnavailableError,
  type Application,
  type OnProgress,
  type StateUnit,
  type Store,
} from '@refold/core';
import type { ProjectionName } from './domain.js';
import { Marks } from './marks.js';
import { deathAt, LEASE_MS, report, strictLogger, takeOrders, type WorkerOrders } from './orders.js';
import { overriding } from './overriding.js';
import { applicationOf, type CrashTarget } from './target.js';
import { withTarget } from './targets.js';

/** Follows the log with every projection, and rebuilds one if so ordered, until it is killed. */
async function work<Unit extends StateUnit>(target: CrashTarget<Unit>, orders: WorkerOrders): Promise<void> {
  const store = dyingAfter(await target.open(orders.place), deathAt(orders.dieAtCommit));
  const marks = new Marks(orders.file);
  const die = deathAt(orders.dieAtEvent);
  const app = applicationOf(target, store, orders.version, {
    onHandling: (projection) => {
      // An inline projection is caught up without progress reports: its batches have no end here.
      if (projection !== 'by_type') marks.handling(projection);
      die();
    },
    logger: strictLogger,
  });
  const onProgress: OnProgress = ({ processor }) => {
    marks.committed(processor);
    report('step');
  };
  report('ready');
  const following = app.worker({ leaseMs: LEASE_MS, batchSize: 100, onProgress }).run();
  if (orders.rebuild) await rebuild(app, orders.rebuild, onProgress);
  await following;
}

/** A rebuild that finds the database out of reach when it begins is begun again. */
async function rebuild<Unit extends StateUnit>(
  app: Application<Unit>,
  projection: ProjectionName,
  onProgress: OnProgress,
): Promise<void> {
  for (;;) {
    try {
      return await app.rebuild(projection, { onProgress });
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await sleep(20);
    }
  }
}

/** Calls `die` when a transaction has been committed, and before its caller knows. */
function dyingAfter<Unit extends StateUnit>(store: Store<Unit>, die: () => void): Store<Unit> {
  const transaction: Store<Unit>['transaction'] = async (callback) => {
    const result = await store.transaction(callback);
    die();
    return result;
  };
  return overriding(store, { transaction });
}

const orders = takeOrders<WorkerOrders>();
await withTarget(orders.target, (target) => work(target, orders));
