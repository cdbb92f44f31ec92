import type { DocumentReader } from '@refold/core';
import { statements, type Statement } from '../accounts.js';
import type { Bench } from '../harness.js';
import { accountsApplication, type Logs } from './logs.js';

/** Projects whole logs into documents; each round builds a read model of its own. */
export async function compareProjections(bench: Bench, logs: readonly Logs[]): Promise<void> {
  const rounds = bench.quick ? 3 : 5;
  await bench.compare<DocumentReader<Statement>, void>({
    name: 'project documents',
    unit: 'events',
    rounds,
    cases: logs.map((one) => ({
      length: one.length,
      n: one.length,
      ours: (round) => project(one, `projected_${round}`),
      raw: (round) => one.raw.project(`by_hand_${round}`),
      correct: async (reader, _, round) =>
        (await holdsExpected(one, reader)) && same(one.raw.documents(`by_hand_${round}`), one.expected),
    })),
  });
  await bench.compare<DocumentReader<Statement>, number>({
    name: 'project documents, raw being our own read and decode',
    unit: 'events',
    rounds,
    bar: { ratio: 0.4, orRate: 100_000 },
    cases: logs.slice(-1).map((one) => ({
      length: one.length,
      n: one.length,
      ours: (round) => project(one, `compared_${round}`),
      raw: () => countEvents(one),
      correct: async (reader, events) => events === one.length && (await holdsExpected(one, reader)),
    })),
  });
}

async function project({ store }: Logs, name: string): Promise<DocumentReader<Statement>> {
  const application = accountsApplication(store, name);
  await application.catchUp();
  return application.readModel(statements(name));
}

async function countEvents({ application }: Logs): Promise<number> {
  let count = 0;
  for await (const { events } of application.events().batches()) count += events.length;
  return count;
}

async function holdsExpected({ expected }: Logs, reader: DocumentReader<Statement>): Promise<boolean> {
  const documents = new Map<string, Statement>();
  for await (const [key, document] of reader.entries()) documents.set(key, document);
  return same(documents, expected);
}

/** Exactly once: an event that was missed or folded twice shows in the balance and in the count. */
function same(found: ReadonlyMap<string, Statement>, expected: ReadonlyMap<string, Statement>): boolean {
  if (found.size !== expected.size) return false;
  for (const [key, { balance, movements, last }] of expected) {
    const document = found.get(key);
    if (document?.balance !== balance || document.movements !== movements || document.last !== last)
      return false;
  }
  return true;
}
