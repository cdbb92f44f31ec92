import type { Suite } from '../harness.js';
import { compareAppends } from './appends.js';
import { compareLoads } from './loads.js';
import { withLogs } from './logs.js';
import { compareMemory } from './memory.js';
import { compareProjections } from './projections.js';
import { compareReads } from './reads.js';

/** Refold on SQLite against better-sqlite3 by hand. */
export const sqliteSuite: Suite = {
  name: 'sqlite',
  about: 'Refold on SQLite against better-sqlite3 by hand, on equal files',
  async run(bench) {
    const lengths = bench.quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000];
    bench.note(`making logs of ${lengths.map((one) => one.toLocaleString('en')).join(', ')} events`);
    await withLogs(lengths, async (logs) => {
      await compareReads(bench, logs);
      await compareProjections(bench, logs);
      await compareMemory(bench, logs);
      await compareLoads(bench, logs);
      // Last, because it makes the logs longer.
      await compareAppends(bench, logs);
    });
  },
};
