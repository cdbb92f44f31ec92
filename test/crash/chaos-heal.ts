import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  StoreBusyError,
  StoreUnavailableError,
  type Application,
  type ProcessorStatus,
  type StateUnit,
} from '@refold/core';
import type { Crew } from './chaos-crew.js';
import { antidoteIn, POISON, PoisonError } from './chaos-domain.js';

/** How long everything may take to come to rest. */
const REST_MS = 90_000;

/** How long letters may hold something back before those that stay dead are discarded. */
const DISCARD_AFTER_MS = 1000;

/**
 * Ends the chaos and mends what is broken, as operators would: no more poison but for what is discarded, pauses ended, the
 * newest version everywhere, what stopped is resumed. Resolves when every processor is at the head and nothing is held
 * back; with what is not so, if it takes too long.
 */
export async function heal<Unit extends StateUnit>(
  app: Application<Unit>,
  crew: Crew,
  folder: string,
): Promise<string[]> {
  crew.dismiss('writer');
  crew.dismiss('worker');
  for (const actor of crew.everyone) if (actor.isAlive) actor.thaw();
  await Promise.all(crew.alive('writer').map((writer) => crew.drain(writer)));
  await writeFile(antidoteIn(folder), '');
  const statuses = await patiently(() => app.status());
  for (const { name, mode } of statuses) {
    if (mode !== 'inline') await patiently(() => app.processor(name).resume());
  }
  await renew(crew);
  return untilAtRest(app, crew);
}

async function untilAtRest<Unit extends StateUnit>(app: Application<Unit>, crew: Crew): Promise<string[]> {
  const begun = performance.now();
  for (;;) {
    const elapsed = performance.now() - begun;
    const restless = (await patiently(() => app.status())).filter((one) => !isAtRest(one));
    if (restless.length === 0) return [];
    if (elapsed > REST_MS) return restless.map((one) => `${one.name} does not come to rest: ${asText(one)}`);
    for (const status of restless) await patiently(() => mend(app, status, elapsed > DISCARD_AFTER_MS));
    // A worker does not try again what has stopped in it.
    if (restless.some(({ failure }) => failure)) await renew(crew);
    await sleep(150);
  }
}

function isAtRest({ lag, deadLetters, version, liveVersion, failure, state }: ProcessorStatus): boolean {
  return lag === 0 && deadLetters === 0 && liveVersion === version && !failure && state === 'running';
}

async function mend<Unit extends StateUnit>(
  app: Application<Unit>,
  { name, version, liveVersion, building, deadLetters, failure }: ProcessorStatus,
  discard: boolean,
): Promise<void> {
  const handle = app.processor(name);
  // An older version was put back: this one's code waits until it is told to go on.
  // A build of the older one, which its process left behind, is no reason to wait.
  const awaits = liveVersion !== undefined && liveVersion < version && building?.version !== version;
  if (awaits) await handle.rebuild();
  if (failure) await handle.resume();
  if (deadLetters === 0) return;
  await handle.deadLetters.retry();
  if (!discard) return;
  for (const { position, error } of await handle.deadLetters.list()) {
    if (error?.message === new PoisonError('always').message) {
      await handle.deadLetters.discard({ position }, POISON);
    }
  }
}

/** Ends all workers, and starts as many of the newest version. */
async function renew(crew: Crew): Promise<void> {
  crew.dismiss('worker');
  await Promise.all(crew.alive('worker').map((worker) => crew.drain(worker)));
  crew.recall('worker');
}

/** Does what can be done again until the database answers. */
export async function patiently<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const passes = error instanceof StoreBusyError || error instanceof StoreUnavailableError;
      if (!passes || tries === 100) throw error;
      await sleep(100);
    }
  }
}

function asText(status: ProcessorStatus): string {
  const { state, position, head, deadLetters, version, liveVersion, failure, partitions } = status;
  const shown = { state, position, head, deadLetters, version, liveVersion, failure, partitions };
  return JSON.stringify(shown);
}
