import type { Suite } from '../harness.js';
import { compareAppends } from './appends.js';
import { Emmett } from './emmett.js';
import { compareLatency } from './latency.js';
import { compareImports } from './imports.js';
import { Databases, makeLogs, type Logs } from './logs.js';
import { hasPgbench } from './pgbench.js';
import { compareProjections } from './projections.js';
import { compareReads } from './reads.js';
import { compareRebuilds } from './rebuilds.js';
import { compareScaling } from './scaling.js';

/** Refold on PostgreSQL against the `postgres` client by hand, Emmett and pgbench. */
export const postgresSuite: Suite = {
  name: 'postgres',
  about: 'Refold on PostgreSQL against the client by hand, Emmett and pgbench',
  async run(bench) {
    await using databases = await Databases.open();
    const { version, fsync } = await databases.settings();
    bench.note(`PostgreSQL ${version}, fsync ${fsync}`);
    if (!hasPgbench) bench.note('skipped: pgbench is not installed');
    const emmett = await openEmmett(databases);
    const lengths = bench.quick ? [2000, 10_000] : [10_000, 1_000_000];
    const logs: Logs[] = [];
    for (const length of lengths) {
      bench.note(`making logs of ${length.toLocaleString('en')} events`);
      logs.push(await makeLogs(databases, length));
    }
    await databases.checkpoint();
    await compareReads(bench, logs);
    // Before Emmett has more events than these.
    await compareProjections(bench, logs, emmett);
    await compareRebuilds(bench, logs);
    if (logs[0]) await compareScaling(bench, logs[0]);
    // These make the logs longer.
    await compareAppends(bench, logs, emmett);
    await compareImports(bench, logs);
    await compareLatency(bench, logs, await openEmmett(databases));
  },
};

async function openEmmett(databases: Databases): Promise<Emmett> {
  const emmett = await Emmett.open(await databases.create());
  databases.closing(() => emmett.close());
  return emmett;
}
