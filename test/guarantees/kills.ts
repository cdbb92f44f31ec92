import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Application, RecordedEvent, StateUnit, Store } from '@refold/core';
import type { EffectTarget } from '../crash/effect-target.js';
import { Effects, type Effect } from '../crash/effects.js';
import { Random } from '../crash/random.js';
import { applicationOf, Counted, effectFileOf } from './deliveries.js';
import { deliveryNames, type Death, type DeliveryName, type Orders } from './orders.js';

const STREAMS = Array.from({ length: 12 }, (_, n) => `counter-${n}`);
const EVENTS_A_KILL = 60;
const WORKERS = 2;

/** What is in the store and in the files when all is done. */
export interface Outcome {
  readonly events: readonly RecordedEvent[];
  readonly inside: readonly Effect[];
  readonly outside: Readonly<Record<Exclude<DeliveryName, 'exactly_once'>, Effects>>;
  readonly kills: number;
}

/**
 * Kills workers with SIGKILL again and again while they deliver: at any time, just before an effect, and just after one.
 * Resolves when every event was delivered, or given up.
 */
export async function deliverThroughKills<Unit extends StateUnit>(
  target: EffectTarget<Unit>,
  { kills, seed }: { readonly kills: number; readonly seed: number },
): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'refold-effects-'));
  const place = await target.create();
  const store = await target.open(place);
  const app = applicationOf(target, store, { life: 0, files: new Map(), onEffect: () => {} });
  await target.prepareEffects(place);
  const orders = { target: target.name, place, folder, life: 0 };
  const deaths = new Deaths(orders, seed, (random) => append(app, random));
  try {
    for (let kill = 0; kill < kills; kill++) await deaths.next(kill);
    await deaths.workUntil(() => isDone(app, store));
    return {
      events: await store.readAll().toArray(),
      inside: await target.readEffects(place),
      outside: {
        at_least_once: Effects.in(effectFileOf(folder, 'at_least_once')),
        at_most_once: Effects.in(effectFileOf(folder, 'at_most_once')),
      },
      kills,
    };
  } finally {
    await deaths.end();
    await store.close();
    await target.remove(place);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Keeps some workers alive, but for the one that is to die. */
class Deaths {
  readonly random: Random;
  readonly #orders: Orders;
  readonly #append: () => Promise<void>;
  readonly #workers: Deliverer[] = [];
  #lives = 0;

  constructor(orders: Orders, seed: number, append: (random: Random) => Promise<void>) {
    this.#orders = orders;
    this.random = new Random(seed);
    this.#append = () => append(this.random);
  }

  /** The kinds take turns, so that each window is hit for sure. */
  async next(kill: number): Promise<void> {
    while (this.#workers.length < WORKERS) this.#start();
    await this.#append();
    const victim = this.#workers.shift();
    const death = this.#deathOf(kill);
    if (!death) await victim?.effects(this.random.between(1, 30));
    await victim?.kill();
    if (!death) return;
    this.#start(death);
    const dying = this.#workers.pop();
    // Others may be done with everything before it has its share.
    while (!(await dying?.ended(500))) await this.#append();
  }

  async workUntil(isDone: () => Promise<boolean>): Promise<void> {
    while (this.#workers.length < WORKERS) this.#start();
    while (!(await isDone())) await sleep(50);
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.kill()));
  }

  #deathOf(kill: number): Death | undefined {
    const call = this.random.between(2, 8);
    switch (kill % 4) {
      case 1:
        return { delivery: 'at_most_once', when: 'before', call };
      case 2:
        return { delivery: 'at_least_once', when: 'after', call };
      case 3:
        return { delivery: 'exactly_once', when: 'after', call };
      default:
        return undefined;
    }
  }

  #start(death?: Death): void {
    this.#workers.push(new Deliverer({ ...this.#orders, life: ++this.#lives, death }));
  }
}

/** A process that delivers until it is killed. */
class Deliverer {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #effects = 0;
  #onMessage = (): void => {};

  constructor(orders: Orders) {
    const script = fileURLToPath(new URL('delivery-child.js', import.meta.url));
    this.#child = fork(script, [JSON.stringify(orders)]);
    this.#ended = once(this.#child, 'exit');
    this.#child.on('message', () => {
      this.#effects += 1;
      this.#onMessage();
    });
  }

  /** Resolves when it has told of so many effects, or after a second without more of them. */
  async effects(count: number): Promise<void> {
    let quiet: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onMessage = () => {
        clearTimeout(quiet);
        quiet = setTimeout(resolve, this.#effects === 0 ? 10_000 : 1000);
        if (this.#effects >= count) resolve();
      };
      this.#onMessage();
    });
    clearTimeout(quiet);
    this.#onMessage = () => {};
  }

  async ended(withinMs: number): Promise<boolean> {
    return Promise.race([this.#ended.then(() => true), sleep(withinMs, false)]);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

async function append<Unit extends StateUnit>(app: Application<Unit>, random: Random): Promise<void> {
  for (let n = 0; n < EVENTS_A_KILL; n++) {
    const [stream = ''] = random.sample(STREAMS, 1);
    await app.append(stream, [Counted(n)]);
  }
}

/** Everything is delivered; what was given up because process after process ended with it is tried again. */
async function isDone<Unit extends StateUnit>(app: Application<Unit>, store: Store<Unit>): Promise<boolean> {
  const head = await store.head();
  const statuses = await app.status();
  for (const { name, deadLetters } of statuses) {
    if (deadLetters > 0) await app.processor(name).deadLetters.retry();
  }
  return (
    statuses.length === deliveryNames.length &&
    statuses.every(({ position, deadLetters }) => position === head && deadLetters === 0)
  );
}
