import { isDeepStrictEqual } from 'node:util';
import {
  silentLogger,
  type Application,
  type Generation,
  type RecordedEvent,
  type StateUnit,
  type Store,
} from '@refold/core';
import { Account, accountIds, emptyTally, foldOf, projectionNames, type ProjectionName } from './domain.js';
import { LEASE_MS } from './orders.js';
import { applicationOf, type CrashTarget } from './target.js';
import type { LogFindings } from './verify-log.js';

/** What a look at the read models found. */
export interface ReadModelFindings {
  readonly problems: readonly string[];
  /** Builds that a kill has left unfinished. */
  readonly interruptedBuilds: number;
}

/**
 * Holds every read model against a fresh fold of the log: as the killed workers left it, up to its checkpoint, and again
 * when it is brought to the head. Loads every aggregate, from its snapshot where it has one.
 */
export async function verifyReadModels<Unit extends StateUnit>(
  target: CrashTarget<Unit>,
  place: string,
  store: Store<Unit>,
  version: number,
  { events, lastInline }: Pick<LogFindings, 'events' | 'lastInline'>,
): Promise<ReadModelFindings> {
  const inline = await checkpointOf(store, 'by_type');
  const asLeft = await compareAll(target, place, store, events);
  const interrupted = (await generationsOf(store)).filter(({ status }) => status === 'building');
  const app = applicationOf(target, store, version, { logger: silentLogger });
  await app.catchUp({ leaseMs: LEASE_MS });
  const caughtUp = await compareAll(target, place, store, events);
  return {
    interruptedBuilds: interrupted.length,
    problems: [
      ...(inline < lastInline
        ? [`by_type, which is inline, was at ${inline} when ${lastInline} was appended`]
        : []),
      ...asLeft.map((problem) => `as it was left, ${problem}`),
      ...caughtUp.map((problem) => `caught up, ${problem}`),
      ...(await unfinished(store, version, events.length)),
      ...(await wrongAccounts(app, events)),
    ],
  };
}

async function compareAll<Unit extends StateUnit>(
  target: CrashTarget<Unit>,
  place: string,
  store: Store<Unit>,
  events: readonly RecordedEvent[],
): Promise<string[]> {
  const problems: string[] = [];
  for (const name of projectionNames) {
    const checkpoint = await checkpointOf(store, name);
    const expected = foldOf(name, events.slice(0, checkpoint));
    const found = name === 'movements' ? await target.readMovements(place) : await documentsOf(store, name);
    for (const key of new Set([...expected.keys(), ...found.keys()])) {
      if (isDeepStrictEqual(found.get(key), expected.get(key))) continue;
      problems.push(
        `${name} has ${JSON.stringify(found.get(key))} for "${key}" at checkpoint ${checkpoint}, ` +
          `the log has ${JSON.stringify(expected.get(key))}`,
      );
    }
  }
  return problems;
}

/** Everything must be live in this version and at the head, and what was live before must be gone. */
async function unfinished(store: Store, version: number, head: number): Promise<string[]> {
  const problems: string[] = [];
  for (const name of projectionNames) {
    const generations = await store.generations(name);
    const live = generations.filter(({ status }) => status === 'live');
    const [only] = live;
    if (live.length !== 1 || only?.version !== version) {
      problems.push(
        `${name} is live in versions ${live.map((one) => one.version).join(', ')}, not in ${version}`,
      );
    }
    const checkpoint = await checkpointOf(store, name);
    if (checkpoint !== head) problems.push(`${name} is at ${checkpoint}, the head is ${head}`);
    const retired = generations.filter(({ status }) => status === 'retired').length;
    // The newest is kept for a rollback.
    if (retired > 1) problems.push(`${name} still has ${retired} retired builds`);
  }
  return problems;
}

async function wrongAccounts<Unit extends StateUnit>(
  app: Application<Unit>,
  events: readonly RecordedEvent[],
): Promise<string[]> {
  const problems: string[] = [];
  const folded = foldOf('balances', events);
  for (const id of accountIds) {
    const { moves, total } = folded.get(`account-${id}`) ?? emptyTally;
    const account = await app.repository(Account).find(id);
    if ((account?.moves ?? 0) === moves && (account?.balance ?? 0) === total) continue;
    problems.push(
      `account ${id} loads as ${JSON.stringify(account)}, the log has ${JSON.stringify({ moves, total })}`,
    );
  }
  return problems;
}

/** 0 while nothing is live. */
async function checkpointOf(store: Store, name: ProjectionName): Promise<number> {
  const live = (await store.generations(name)).find(({ status }) => status === 'live');
  const partitions = await store.partitions(name);
  return partitions.find(({ generation }) => generation === live?.generation)?.position ?? 0;
}

async function generationsOf(store: Store): Promise<Generation[]> {
  return (await Promise.all(projectionNames.map((name) => store.generations(name)))).flat();
}

async function documentsOf(store: Store, name: ProjectionName): Promise<Map<string, unknown>> {
  const all = new Map<string, unknown>();
  for await (const [key, document] of store.documents(name).entries()) all.set(key, document);
  return all;
}
