import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AppendOutcomeUnknownError,
  InlineProjectionError,
  StoreBusyError,
  StoreUnavailableError,
  type StateUnit,
} from '@refold/core';
import { Moved, parking, processorNames, Returned, type Poison } from './chaos-domain.js';
import { fileLogger } from './chaos-log.js';
import { leave, takeChaosOrders, tell, type ChaosOrders, type Order } from './chaos-orders.js';
import { chaosApplication, type ChaosTarget } from './chaos-target.js';
import { withChaosTarget } from './chaos-targets.js';
import { Journal, journaled } from './journal.js';
import { Random } from './random.js';

const STREAMS = 24;
const REGIONS = 5;
const MOST_PAUSE_MS = 25;

/** Appends events, some of them poison, until it is told to stop or killed. */
async function write<Unit extends StateUnit>(target: ChaosTarget<Unit>, orders: ChaosOrders): Promise<void> {
  const { place, folder, seed, life, version } = orders;
  const random = new Random(seed, life);
  const journal = new Journal(join(folder, `${life}-writer.jsonl`), life);
  const store = await target.open(place);
  const app = chaosApplication(target, journaled(store, journal), version, {
    life,
    logger: fileLogger(folder, `${life}-writer`),
    strike: () => {},
    outside: () => {},
  });
  let stopped = false;
  process.on('message', (order: Order) => (stopped ||= order === 'stop'));
  tell('ready');
  while (!stopped) {
    const number = random.between(0, STREAMS - 1);
    const events = Array.from({ length: random.between(1, 3) }, () => eventOf(random, number));
    await app.append(`account-${number}`, events).catch(unlessUnavailable);
    await sleep(random.between(0, MOST_PAUSE_MS));
  }
  journal.close();
  await app.close();
  leave();
}

/** A stream is of one region. */
function eventOf(random: Random, stream: number): object {
  const region = `r${stream % REGIONS}`;
  const move = {
    amount: random.between(1, 1000),
    owner: `${region}/${random.between(1, 4)}`,
    region,
    poison: poisonOf(random),
  };
  return random.chance(0.3) ? Returned(move) : Moved(move);
}

function poisonOf(random: Random): Poison | undefined {
  if (!random.chance(0.012)) return undefined;
  const [victim = 'least'] = random.sample(
    processorNames.filter((name) => name !== 'kinds'),
    1,
  );
  if (random.chance(0.12)) return { victim, kind: 'deadly', deaths: random.between(1, 5) };
  if (random.chance(0.5) && parking.includes(victim)) return { victim, kind: 'always' };
  return { victim, kind: 'awhile', until: Date.now() + random.between(50, 1500) };
}

/** What became of the append shows in the log at the end. */
function unlessUnavailable(error: unknown): void {
  const cause = error instanceof InlineProjectionError ? error.cause : error;
  const known =
    cause instanceof StoreBusyError ||
    cause instanceof StoreUnavailableError ||
    cause instanceof AppendOutcomeUnknownError;
  if (!known) throw error;
}

const orders = takeChaosOrders();
await withChaosTarget(orders.target, (target) => write(target, orders));
