import { join } from 'node:path';
import { ProcessorStoppedError, shutdownSignal, type StateUnit } from '@refold/core';
import { Poisoning, sequenceOf } from './chaos-domain.js';
import { fileLogger } from './chaos-log.js';
import {
  BATCH_SIZE,
  LEASE_MS,
  leave,
  takeChaosOrders,
  tell,
  type ChaosOrders,
  type Order,
} from './chaos-orders.js';
import { Steersman } from './chaos-steersman.js';
import { chaosApplication, type ChaosTarget } from './chaos-target.js';
import { withChaosTarget } from './chaos-targets.js';
import { EffectFile, withLeasesNoted } from './effects.js';

/** Runs every processor, and steers them as told, until it is asked to end or killed. */
async function work<Unit extends StateUnit>(target: ChaosTarget<Unit>, orders: ChaosOrders): Promise<void> {
  const { place, folder, life, version } = orders;
  const signal = shutdownSignal();
  const files = new Map(
    (['least', 'most'] as const).map((name) => [name, new EffectFile(effectsIn(folder, name), life)]),
  );
  const logger = fileLogger(folder, `${life}-worker`);
  const poisoning = new Poisoning(folder);
  const store = withLeasesNoted(await target.open(place), files);
  const app = chaosApplication(target, store, version, {
    life,
    logger,
    strike: (name, event) => poisoning.strike(name, event),
    outside: (name, event) => files.get(name)?.done(event, sequenceOf(name, event)),
  });
  const steersman = new Steersman(app, store, signal);
  process.on('message', (order: Order) => {
    if (order === 'stop') return;
    const { what, processor } = order.steering;
    logger.info(`${what} ${processor} begins`);
    void steersman.obey(order).then((answer) => {
      logger.info(`${what} ${processor}: ${answer.outcome}`);
      tell(answer);
    });
  });
  signal.addEventListener('abort', () => logger.info('is asked to end'));
  tell('ready');
  try {
    await app.worker({ leaseMs: LEASE_MS, batchSize: BATCH_SIZE, name: `worker-${life}` }).run({ signal });
  } catch (error) {
    const all: unknown[] = error instanceof AggregateError ? error.errors : [error];
    if (!all.every((one) => one instanceof ProcessorStoppedError)) throw error;
  }
  logger.info('has ended its work');
  await steersman.idle();
  await app.close();
  leave();
  logger.info('has closed');
}

function effectsIn(folder: string, name: string): string {
  return join(folder, `${name}.effects`);
}

const orders = takeChaosOrders();
await withChaosTarget(orders.target, (target) => work(target, orders));
