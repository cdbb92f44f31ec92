import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { NewEvent } from '@refold/core';
import { sqliteStore } from '@refold/sqlite';
import { Random } from '../crash/random.js';
import type { BrokerTarget, RunningBroker } from './broker.js';
import type { Task } from './counted.js';
import { countReceived, verify, type Verdict } from './verify.js';

/** How a run goes. */
export interface RunOptions {
  /** How many messages are delivered in all. */
  readonly messages: number;
  readonly seed: number;
  /** How many messages there are for each kill. */
  readonly messagesAKill: number;
  /** How long nothing may arrive, when nothing is killed any more. */
  readonly patienceMs?: number;
  readonly onProgress?: (line: string) => void;
}

/** What a run came to. */
export interface Outcome extends Verdict {
  readonly kills: { readonly relay: number; readonly consumer: number; readonly broker: number };
}

const STREAMS = 40;

/**
 * Delivers messages while the relay, the consumer and the broker are killed with SIGKILL at random, then lets them finish, and
 * compares what arrived with what was appended. The files are left where they are if something is wrong.
 */
export async function deliverThroughCrashes(
  target: BrokerTarget,
  broker: RunningBroker,
  options: RunOptions,
): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'refold-delivery-'));
  const run = new DeliveryRun(target, broker, folder, options);
  const outcome = await run.go();
  if (outcome.problems.length === 0) await rm(folder, { recursive: true, force: true });
  else options.onProgress?.(`the files of the run are in ${folder}`);
  return outcome;
}

class DeliveryRun {
  readonly #target: BrokerTarget;
  readonly #broker: RunningBroker;
  readonly #options: RunOptions;
  readonly #random: Random;
  readonly #task: Task;
  readonly #kills = { relay: 0, consumer: 0, broker: 0 };
  readonly #children = new Map<'relay' | 'consumer', ChildProcess>();
  readonly #errors: string[] = [];

  constructor(target: BrokerTarget, broker: RunningBroker, folder: string, options: RunOptions) {
    this.#target = target;
    this.#broker = broker;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#task = {
      broker: target.name,
      address: broker.address,
      topic: `counts-${options.seed}-${Date.now().toString(36)}`,
      log: join(folder, 'log.db'),
      received: join(folder, 'received.db'),
      journal: join(folder, 'journal'),
    };
  }

  async go(): Promise<Outcome> {
    const { messages, messagesAKill, onProgress } = this.#options;
    writeFileSync(this.#task.journal, '');
    await this.#target.prepare(this.#task);
    const store = await sqliteStore(this.#task.log, { durability: 'normal' });
    try {
      for (let appended = 0; appended < messages; appended += messagesAKill) {
        this.#keepAlive();
        const events = chunk(appended, Math.min(messagesAKill, messages - appended));
        for (const [stream, some] of events) await store.append(stream, some);
        await sleep(this.#random.between(50, 1500));
        if (appended + messagesAKill < messages) await this.#kill();
        onProgress?.(
          `${Math.min(messages, appended + messagesAKill)} appended, ${JSON.stringify(this.#kills)}`,
        );
      }
      await this.#finish(messages);
    } finally {
      for (const name of this.#children.keys()) await this.#end(name);
      await store.close();
    }
    return { ...(await verify(this.#target, this.#task)), kills: this.#kills };
  }

  /** One of the three, in turns that the seed decides; the broker less often, since it takes its time to come back. */
  async #kill(): Promise<void> {
    const draw = this.#random.next();
    const victim = draw < 0.4 ? 'relay' : draw < 0.7 ? 'consumer' : 'broker';
    this.#kills[victim] += 1;
    if (victim !== 'broker') return this.#end(victim);
    await this.#broker.kill();
    await sleep(this.#random.between(0, 500));
    await this.#broker.start();
  }

  async #finish(messages: number): Promise<void> {
    const { patienceMs = 60_000 } = this.#options;
    let received = -1;
    let since = performance.now();
    while (received < messages) {
      this.#keepAlive();
      await sleep(200);
      const now = existsSync(this.#task.received) ? await countReceived(this.#task.received) : 0;
      if (now > received) {
        received = now;
        since = performance.now();
      } else if (performance.now() - since > patienceMs) return;
    }
    // Repeats that are still on their way would count too.
    await sleep(500);
  }

  #keepAlive(): void {
    for (const name of ['relay', 'consumer'] as const) {
      const child = this.#children.get(name);
      if (child && child.exitCode === null && child.signalCode === null) continue;
      if (child?.exitCode !== null && child !== undefined) {
        throw new Error(
          `The ${name} has ended by itself with code ${child.exitCode}:\n${this.#errors.join('')}`,
        );
      }
      this.#start(name);
    }
  }

  #start(name: 'relay' | 'consumer'): void {
    const script = fileURLToPath(new URL(`${name}-child.js`, import.meta.url));
    const child = fork(script, [JSON.stringify(this.#task)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    child.stderr?.on('data', (text: Buffer) => this.#errors.push(text.toString()));
    this.#children.set(name, child);
  }

  async #end(name: 'relay' | 'consumer'): Promise<void> {
    const child = this.#children.get(name);
    this.#children.delete(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

/** Events by stream, numbered on in each. */
function chunk(from: number, count: number): Map<string, NewEvent[]> {
  const events = new Map<string, NewEvent[]>();
  for (let index = from; index < from + count; index++) {
    const stream = `counter-${index % STREAMS}`;
    const own = events.get(stream) ?? [];
    own.push({ type: 'Counted', data: { n: Math.floor(index / STREAMS) } });
    events.set(stream, own);
  }
  return events;
}
