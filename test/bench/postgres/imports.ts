import { eventAt } from '../accounts.js';
import type { Bench, Case } from '../harness.js';
import { equalTails, stream, tailOf, type Logs } from './logs.js';
import type { Item } from './raw.js';

/** Imports events into new streams, by COPY on both sides. */
export async function compareImports(bench: Bench, logs: readonly Logs[]): Promise<void> {
  const count = bench.quick ? 5000 : 100_000;
  await bench.compare({
    name: 'import',
    unit: 'events',
    rounds: bench.quick ? 2 : 5,
    bar: { ratio: 0.7 },
    cases: logs.map((one) => importCase(one, count)),
  });
}

/** Events that Refold commits together by default. */
const CHUNK = 20_000;

/** How many streams a round has. */
const STREAMS = 1000;

function importCase(logs: Logs, count: number): Case<void> {
  const { application, raw, length } = logs;
  return {
    length,
    n: count,
    ours: async (round) => {
      await application.import(`round ${round}`, () => items(`import${round}x`, count));
    },
    raw: (round) => raw.copy(items(`import${round}x`, count), Infinity),
    correct: async (_ours, _raw, round) => {
      const pattern = `${stream(`import${round}x`)}%`;
      const ours = await tailOf(logs, 'refold', 0, pattern);
      return equalTails(ours, await tailOf(logs, 'raw', 0, pattern), count);
    },
    peers: [
      {
        name: `${CHUNK.toLocaleString('en')} a COPY`,
        n: count,
        run: async (round) => {
          await raw.copy(items(`chunks${round}x`, count), CHUNK);
          return async () => (await tailOf(logs, 'raw', 0, `${stream(`chunks${round}x`)}%`)).count === count;
        },
      },
    ],
  };
}

function* items(prefix: string, count: number): Generator<Item> {
  for (let index = 0; index < count; index++) {
    yield { stream: stream(`${prefix}${(index * 7919) % STREAMS}`), event: eventAt(index) };
  }
}
