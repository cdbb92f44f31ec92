import { readFileSync } from 'node:fs';
import type { RecordedEvent } from '@refold/core';
import { sqliteStore } from '@refold/sqlite';
import type { BrokerTarget } from './broker.js';
import type { Task } from './counted.js';

/** What arrived, against what was appended. */
export interface Verdict {
  readonly events: number;
  /** Arrivals beyond the first of each message. */
  readonly repeats: number;
  readonly problems: readonly string[];
}

interface Arrival {
  readonly id: string;
  readonly key: string;
  readonly n: number;
}

/** How many problems are told of each kind. */
const TOLD = 5;

/** Compares the log, the journal of arrivals, the effects of the inbox, and what the broker has. */
export async function verify(broker: BrokerTarget, task: Task): Promise<Verdict> {
  const sent = await eventsOf(task.log);
  const arrivals = arrivalsIn(task.journal);
  const effects = await eventsOf(task.received);
  const taken = await broker.taken?.(task);
  return {
    events: sent.length,
    repeats: arrivals.length - new Set(arrivals.map(({ id }) => id)).size,
    problems: [
      ...lost(sent, arrivals),
      ...disordered(arrivals),
      ...wrongEffects(sent, effects),
      ...(taken ? notExactlyOnce(sent, taken) : []),
    ],
  };
}

/** How many events the consumer has had the effects of. */
export async function countReceived(path: string): Promise<number> {
  const store = await sqliteStore(path);
  try {
    return await store.head();
  } finally {
    await store.close();
  }
}

async function eventsOf(path: string): Promise<readonly RecordedEvent[]> {
  const store = await sqliteStore(path);
  try {
    return await store.readAll().toArray();
  } finally {
    await store.close();
  }
}

function arrivalsIn(path: string): Arrival[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [id = '', key = '', n = ''] = line.split(' ');
      return { id, key, n: Number(n) };
    });
}

/** At least once: every event has arrived. */
function lost(sent: readonly RecordedEvent[], arrivals: readonly Arrival[]): string[] {
  const arrived = new Set(arrivals.map(({ id }) => id));
  return told(
    sent.filter(({ id }) => !arrived.has(id)),
    ({ stream, revision }) => `${stream} revision ${revision} has never arrived`,
  );
}

/** In order: what arrives for the first time comes after all that was before it in its key. */
function disordered(arrivals: readonly Arrival[]): string[] {
  const next = new Map<string, number>();
  const wrong: string[] = [];
  for (const { key, n } of arrivals) {
    const expected = next.get(key) ?? 0;
    if (n > expected) wrong.push(`${key} ${n} has arrived where ${expected} was to come`);
    if (n >= expected) next.set(key, n + 1);
  }
  return told(wrong, (one) => one);
}

/** Exactly once: the effects of the inbox are those of every event, in order and nothing else. */
function wrongEffects(sent: readonly RecordedEvent[], effects: readonly RecordedEvent[]): string[] {
  const wrong: string[] = [];
  const byKey = new Map<string, number>();
  for (const { stream, data } of effects) {
    const { n } = data as { readonly n: number };
    const expected = byKey.get(stream) ?? 0;
    if (n !== expected) wrong.push(`${stream} has the effect of ${n} where that of ${expected} was to come`);
    byKey.set(stream, n + 1);
  }
  if (effects.length !== sent.length) {
    wrong.push(`${effects.length} effects of ${sent.length} events`);
  }
  return told(wrong, (one) => one);
}

/** Exactly once in the broker itself. */
function notExactlyOnce(sent: readonly RecordedEvent[], taken: readonly string[]): string[] {
  const times = new Map<string, number>();
  for (const id of taken) times.set(id, (times.get(id) ?? 0) + 1);
  return told(
    sent.filter(({ id }) => times.get(id) !== 1),
    ({ id, stream, revision }) => `the broker has ${stream} revision ${revision} ${times.get(id) ?? 0} times`,
  );
}

function told<Item>(wrong: readonly Item[], say: (item: Item) => string): string[] {
  const first = wrong.slice(0, TOLD).map(say);
  return wrong.length > TOLD ? [...first, `and ${wrong.length - TOLD} more of the kind`] : first;
}
