import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { RecordedEvent, StateUnit, Store } from '@refold/core';
import {
  foldOf,
  moveOf,
  processorNames,
  projectionNames,
  type ProcessorName,
  type ProjectionName,
} from './chaos-domain.js';
import { MOST_PARTITIONS } from './chaos-orders.js';
import type { ChaosTarget } from './chaos-target.js';
import { disorderOf, Effects } from './effects.js';
import { readJournals } from './journal.js';
import { verifyLog } from './verify-log.js';

/** What is to be known of a round to judge what it has left. */
export interface RoundFacts {
  readonly place: string;
  readonly folder: string;
  /** Processes that have ended without being asked to, and times that the database was disturbed. */
  readonly interruptions: number;
  /** The processes that were frozen: what they had in hand may have had its effect late. */
  readonly frozen: ReadonlySet<number>;
}

/** What a look at everything has found. */
export interface ChaosFindings {
  readonly problems: readonly string[];
  readonly events: number;
  readonly appends: number;
  readonly discarded: number;
  readonly repeated: number;
  readonly lost: number;
}

/** Holds the log against the journals of its writers, every read model against a fresh fold, and every effect against its guarantee. */
export async function verifyChaos<Unit extends StateUnit>(
  target: ChaosTarget<Unit>,
  store: Store<Unit>,
  facts: RoundFacts,
): Promise<ChaosFindings> {
  const { place, folder } = facts;
  const journals = readdirSync(folder).filter((name) => name.endsWith('-writer.jsonl'));
  const intents = readJournals(journals.map((name) => join(folder, name)));
  const log = await verifyLog(store, intents, []);
  const { events } = log;
  const discarded = new Map<ProcessorName, ReadonlySet<number>>();
  for (const name of processorNames) discarded.set(name, await discardedOf(store, name));
  const without = (name: ProcessorName): readonly RecordedEvent[] =>
    events.filter(({ position }) => !discarded.get(name)?.has(position));
  const least = Effects.in(join(folder, 'least.effects'));
  const most = Effects.in(join(folder, 'most.effects'));
  const lost = lostOf(most, events);
  return {
    problems: [
      ...log.problems,
      ...(await wrongReadModels(target, store, place, without)),
      ...(await leftBehind(store, events.length)),
      ...(await wrongRows(target, place, events, without('exact'))),
      ...named('least', [
        ...wrongTimes(without('least'), (times) => times < 1, least),
        ...least.disorder(),
        ...least.repeatsOfCommitted(),
      ]),
      ...named('most', [
        ...wrongTimes(events, (times) => times > 1, most),
        ...most.disorderWithout(facts.frozen),
        ...tooMany(lost, facts.interruptions),
      ]),
      ...(await target.damage(place)),
    ],
    events: events.length,
    appends: log.acknowledged,
    discarded: [...discarded.values()].reduce((sum, { size }) => sum + size, 0),
    repeated: least.repeats,
    lost,
  };
}

async function wrongReadModels<Unit extends StateUnit>(
  target: ChaosTarget<Unit>,
  store: Store<Unit>,
  place: string,
  without: (name: ProjectionName) => readonly RecordedEvent[],
): Promise<string[]> {
  const problems: string[] = [];
  for (const name of projectionNames) {
    const expected = foldOf(name, without(name));
    const found = name === 'ledger' ? await target.readLedger(place) : await documentsOf(store, name);
    for (const key of new Set([...expected.keys(), ...found.keys()])) {
      if (isDeepStrictEqual(found.get(key), expected.get(key))) continue;
      const [has, wants] = [found.get(key), expected.get(key)].map((one) => JSON.stringify(one));
      problems.push(`${name} has ${has} for "${key}", the log has ${wants}`);
    }
  }
  return problems;
}

/** When all workers are gone, everything must be at the head, and nothing held or waiting. */
async function leftBehind(store: Store, head: number): Promise<string[]> {
  const problems: string[] = [];
  for (const name of processorNames) {
    const live = (await store.generations(name)).find(({ status }) => status === 'live');
    for (const partition of await store.partitions(name)) {
      if (partition.generation !== live?.generation) continue;
      const { firstSlice, position, ahead, holder } = partition;
      if (position !== head) problems.push(`${name}/${firstSlice} is at ${position}, the head is ${head}`);
      if (ahead.length > 0) problems.push(`${name}/${firstSlice} is ahead of the head`);
      if (holder) problems.push(`${name}/${firstSlice} is still held by ${holder}`);
    }
  }
  return problems;
}

async function wrongRows<Unit extends StateUnit>(
  target: ChaosTarget<Unit>,
  place: string,
  events: readonly RecordedEvent[],
  wanted: readonly RecordedEvent[],
): Promise<string[]> {
  const rows = await target.readEffects(place);
  const times = new Map<number, number>();
  for (const { position } of rows) times.set(position, (times.get(position) ?? 0) + 1);
  const once = new Set(wanted.map(({ position }) => position));
  const wrong = events.filter(({ position }) => (times.get(position) ?? 0) !== (once.has(position) ? 1 : 0));
  return named('exact', [
    ...wrong.map(({ position }) => `position ${position} had its effect ${times.get(position) ?? 0} times`),
    ...disorderOf(rows),
  ]);
}

function wrongTimes(
  events: readonly RecordedEvent[],
  isWrong: (times: number) => boolean,
  effects: Effects,
): string[] {
  return events
    .filter(({ position }) => isWrong(effects.times(position)))
    .map(({ position }) => `position ${position} had its effect ${effects.times(position)} times`);
}

/** Events without an effect, but for those that failed and were skipped. */
function lostOf(most: Effects, events: readonly RecordedEvent[]): number {
  return events.filter((event) => moveOf(event).poison?.victim !== 'most' && most.times(event.position) === 0)
    .length;
}

/** Every interruption may lose the event in hand of each partition. */
function tooMany(lost: number, interruptions: number): string[] {
  const most = interruptions * MOST_PARTITIONS;
  return lost > most ? [`${lost} effects were lost in ${interruptions} interruptions`] : [];
}

async function discardedOf(store: Store, processor: string): Promise<ReadonlySet<number>> {
  const live = (await store.generations(processor)).find(({ status }) => status === 'live');
  if (!live) return new Set();
  const { generation } = live;
  const letters = await store.deadLetters({ processor, generation, discarded: true, limit: 100_000 });
  return new Set(letters.map(({ position }) => position));
}

async function documentsOf(store: Store, name: string): Promise<Map<string, unknown>> {
  const all = new Map<string, unknown>();
  for await (const [key, document] of store.documents(name).entries()) all.set(key, document);
  return all;
}

function named(processor: ProcessorName, problems: readonly string[]): string[] {
  return problems.map((problem) => `${processor}: ${problem}`);
}
