import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createApplication,
  defineEvent,
  delivery,
  silentLogger,
  type Application,
  type Delivery,
  type Guarantee,
  type RecordedEvent,
  type StateUnit,
  type Store,
} from '@refold/core';
import type { EffectTarget } from '../crash/effect-target.js';
import { EffectFile } from '../crash/effects.js';
import { deliveryNames, PARTITIONS, type DeliveryName } from './orders.js';

export const Counted = defineEvent('Counted', (number: number) => ({ number }));

/** Told of every event just before its effect and just after it. */
export type OnEffect = (delivery: DeliveryName, when: 'before' | 'after') => void;

/** One delivery of every guarantee, over several partitions: each has one effect for each event. */
export function applicationOf<Unit extends StateUnit>(
  target: EffectTarget<Unit>,
  store: Store<Unit>,
  { life, files, onEffect }: { life: number; files: ReadonlyMap<string, EffectFile>; onEffect: OnEffect },
): Application<Unit> {
  const outside = (name: DeliveryName, event: RecordedEvent): void => {
    files.get(name)?.done(event, event.stream);
  };
  const withEffect = (
    name: DeliveryName,
    guarantee: Guarantee,
    effect: (event: RecordedEvent, unit: () => Unit) => void | Promise<void>,
  ): Delivery<Unit> =>
    delivery<Unit>(name, { guarantee, partitions: PARTITIONS }).on(Counted, async (event, context) => {
      // Time for a kill on both sides of the effect.
      await sleep(Math.random() * 2);
      onEffect(name, 'before');
      await effect(event, () => context.unit);
      onEffect(name, 'after');
      await sleep(Math.random() * 2);
    });
  return createApplication<Unit>({
    store,
    deliveries: [
      withEffect('exactly_once', 'exactlyOnce', (event, unit) =>
        target.writeEffect(unit(), event, event.stream, life),
      ),
      withEffect('at_least_once', 'atLeastOnce', (event) => outside('at_least_once', event)),
      withEffect('at_most_once', 'atMostOnce', (event) => outside('at_most_once', event)),
    ],
    logger: silentLogger,
  });
}

/** Where the effects of a delivery outside of the store are written. */
export function effectFileOf(folder: string, name: DeliveryName): string {
  return join(folder, `${name}.jsonl`);
}

/** The open files of one process. */
export function openFiles(folder: string, life: number): ReadonlyMap<DeliveryName, EffectFile> {
  return new Map(deliveryNames.map((name) => [name, new EffectFile(effectFileOf(folder, name), life)]));
}
