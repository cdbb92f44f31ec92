import type { StateUnit } from '@refold/core';
import { expect } from 'chai';
import { CrashRun } from './crash-run.js';
import { postgresTarget } from './postgres-target.js';
import { sqliteTarget } from './sqlite-target.js';
import type { CrashTarget } from './target.js';

const ROUNDS = 5;
const seed = Number(process.env['REFOLD_CRASH_SEED'] ?? 1);

after(() => postgresTarget.end?.());

describeCrashes(sqliteTarget);
describeCrashes(postgresTarget);

function describeCrashes<Unit extends StateUnit>(target: CrashTarget<Unit>): void {
  describe(`kill -9 on ${target.name}`, () => {
    const run = new CrashRun(target, { seed });
    after(() => run.clean());

    it(`keeps every acknowledged append, and exact read models, through ${ROUNDS} rounds of seed ${seed}`, async function () {
      this.timeout(300_000);
      // On a busy machine a moment may be missed: what is to be shown is looked for a little longer.
      const rounds = (): number => run.statistics.rounds;
      while (rounds() < ROUNDS || (rounds() < 3 * ROUNDS && run.statistics.missed().length > 0)) {
        await run.round();
      }
      await run.finish();
      expect(run.statistics.missed()).to.deep.equal([]);
    });
  });
}
