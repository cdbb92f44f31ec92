import { expect } from 'chai';
import type { StateUnit } from '@refold/core';
import { ChaosRun } from './chaos-run.js';
import type { ChaosTarget } from './chaos-target.js';
import { chaosTargetNames, withChaosTarget } from './chaos-targets.js';

const ROUNDS = 2;
const ROUND_MS = 7000;
const seed = Number(process.env['REFOLD_CRASH_SEED'] ?? 1);

function describeChaos<Unit extends StateUnit>(target: ChaosTarget<Unit>): void {
  describe(`chaos on ${target.name}`, () => {
    const run = new ChaosRun(target, { seed, roundMs: ROUND_MS });
    after(() => run.close());

    it(`leaves read models exact, sequences in order and guarantees kept, in ${ROUNDS} rounds of seed ${seed}`, async function () {
      this.timeout(300_000);
      try {
        while (run.statistics.rounds < ROUNDS) await run.round();
      } catch (error) {
        console.error(run.schedule);
        throw error;
      }
      expect(run.statistics.missed()).to.deep.equal([]);
    });
  });
}

for (const name of chaosTargetNames) withChaosTarget(name, describeChaos);
