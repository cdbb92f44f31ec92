import type { StateUnit } from '@refold/core';
import type { EffectTarget } from '../crash/effect-target.js';
import { withLeasesNoted } from '../crash/effects.js';
import { applicationOf, openFiles, type OnEffect } from './deliveries.js';
import { BATCH_SIZE, LEASE_MS, type Death, type Orders } from './orders.js';
import { withTarget } from './targets.js';

/** Delivers until it is killed, or until it kills itself if so ordered; tells its parent of every effect. */
async function deliver<Unit extends StateUnit>(target: EffectTarget<Unit>, orders: Orders): Promise<void> {
  const { place, folder, life, death } = orders;
  const files = openFiles(folder, life);
  const store = withLeasesNoted(await target.open(place), files);
  const die = dying(death);
  const onEffect: OnEffect = (name, when) => {
    die(name, when);
    if (when === 'after') process.send?.(name);
  };
  const app = applicationOf(target, store, { life, files, onEffect });
  process.send?.('ready');
  await app.worker({ leaseMs: LEASE_MS, batchSize: BATCH_SIZE, name: `worker-${life}` }).run();
}

function dying(death: Death | undefined): OnEffect {
  let calls = 0;
  return (name, when) => {
    if (name !== death?.delivery || when !== death.when) return;
    calls += 1;
    if (calls === death.call) process.kill(process.pid, 'SIGKILL');
  };
}

// A process whose parent is gone ends.
process.on('disconnect', () => process.exit());
const orders = JSON.parse(process.argv[2] ?? '') as Orders;
await withTarget(orders.target, (target) => deliver(target, orders));
