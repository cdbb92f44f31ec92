import type { DocumentReader } from '@refold/core';
import { accountAt, eventAt, statements, type Statement } from '../accounts.js';
import type { Bench, Peer } from '../harness.js';
import type { Emmett } from './emmett.js';
import { accountsApplication, stream, type Logs } from './logs.js';

/** Projects whole logs into documents; each round builds a read model of its own. */
export async function compareProjections(bench: Bench, logs: readonly Logs[], emmett: Emmett): Promise<void> {
  const peer = await emmettPeer(emmett, bench.quick ? 200 : 4000);
  await bench.compare<DocumentReader<Statement>, void>({
    name: 'project documents exactly once',
    unit: 'events',
    rounds: bench.quick ? 2 : 5,
    bar: { ratio: 0.6 },
    cases: logs.map((one, index) => ({
      length: one.length,
      n: one.length,
      ours: (round) => project(one, `projected_${round}`),
      raw: (round) => one.raw.project(`by_hand_${round}`),
      correct: async (reader, _, round) =>
        same(await documentsOf(reader), one.expected) &&
        same(await one.raw.documents(`by_hand_${round}`), one.expected),
      peers: index === 0 ? [peer] : [],
    })),
  });
}

/** Builds a read model under a name of its own. */
export async function project({ store }: Logs, name: string): Promise<DocumentReader<Statement>> {
  const projection = statements(name);
  const application = accountsApplication(store, projection);
  await application.catchUp();
  return application.readModel(projection);
}

/** Emmett projects the first events of the same log, which it is given first. */
async function emmettPeer(emmett: Emmett, events: number): Promise<Peer> {
  const length = 10_000;
  for (let index = 0; index < events; index++) {
    await emmett.append(stream(accountAt(index, length)), [eventAt(index)]);
  }
  return {
    name: 'Emmett',
    n: events,
    bar: { ratio: 10 },
    run: async (round) => {
      await emmett.project(`statements_${round}`);
      return () => emmett.projected(`statements_${round}`, events);
    },
  };
}

/** Every document of a read model. */
export async function documentsOf(reader: DocumentReader<Statement>): Promise<Map<string, Statement>> {
  const documents = new Map<string, Statement>();
  for await (const [key, document] of reader.entries()) documents.set(key, document);
  return documents;
}

/** Exactly once: an event that was missed or folded twice shows in the balance and in the count. */
export function same(
  found: ReadonlyMap<string, Statement>,
  expected: ReadonlyMap<string, Statement>,
): boolean {
  if (found.size !== expected.size) return false;
  for (const [key, { balance, movements, last }] of expected) {
    const document = found.get(key);
    if (document?.balance !== balance || document.movements !== movements || document.last !== last)
      return false;
  }
  return true;
}
