import type { DocumentReader } from '@refold/core';
import { statements, type Statement } from '../accounts.js';
import type { Bench } from '../harness.js';
import { accountsApplication, type Logs } from './logs.js';
import { documentsOf, project, same } from './projections.js';

/** Rebuilds live read models beside themselves: against filling a new one, and in 4 partitions against one. */
export async function compareRebuilds(bench: Bench, logs: readonly Logs[]): Promise<void> {
  for (const one of logs) {
    for (const partitions of [1, 4]) await built(one, partitions);
  }
  const rounds = bench.quick ? 2 : 5;
  await bench.compare<DocumentReader<Statement>, DocumentReader<Statement>>({
    name: 'rebuild documents, raw being the first build',
    unit: 'events',
    rounds,
    bar: { ratio: 0.8 },
    cases: logs.map((one) => ({
      length: one.length,
      n: one.length,
      ours: () => rebuilt(one, 1),
      raw: (round) => project(one, `first_${round}`),
      correct: (ours, raw) => areExact(one, [ours, raw]),
    })),
  });
  await bench.compare<DocumentReader<Statement>, DocumentReader<Statement>>({
    name: 'rebuild documents in 4 partitions, raw being one partition',
    unit: 'events',
    rounds,
    bar: { ratio: 1 },
    cases: logs.map((one) => ({
      length: one.length,
      n: one.length,
      ours: () => rebuilt(one, 4),
      raw: () => rebuilt(one, 1),
      correct: (ours, raw) => areExact(one, [ours, raw]),
    })),
  });
}

function nameOf(partitions: number): string {
  return `rebuilt_in_${partitions}`;
}

async function built(one: Logs, partitions: number): Promise<void> {
  await accountsApplication(one.store, statements(nameOf(partitions), { partitions })).catchUp();
}

async function rebuilt(one: Logs, partitions: number): Promise<DocumentReader<Statement>> {
  const projection = statements(nameOf(partitions), { partitions });
  const application = accountsApplication(one.store, projection);
  await application.rebuild(projection);
  return application.readModel(projection);
}

async function areExact(one: Logs, readers: readonly DocumentReader<Statement>[]): Promise<boolean> {
  for (const reader of readers) if (!same(await documentsOf(reader), one.expected)) return false;
  return true;
}
