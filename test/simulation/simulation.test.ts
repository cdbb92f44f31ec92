import { expect } from 'chai';
import { simulate } from './simulation.js';

/** As many as take a few seconds; `npm run simulate` goes on with others. */
const SEEDS = 60;

/** Another at each time, which is tried beside the fixed ones. */
const random = Number(process.env['REFOLD_SIMULATION_SEED'] ?? Math.floor(Math.random() * 1e9));

describe('simulated workers, time and crashes', () => {
  it(`lead to exact results with the seeds 1 to ${SEEDS}`, async function () {
    this.timeout(120_000);
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { violations } = await simulate(seed);
      expect(violations, `npm run simulate -- --seed ${seed}`).to.deep.equal([]);
    }
  });

  it(`lead to exact results with the seed ${random}`, async () => {
    const { violations } = await simulate(random);
    expect(violations, `npm run simulate -- --seed ${random}`).to.deep.equal([]);
  });

  it('do the same again, in the same order, with the same seed', async () => {
    const first = await simulate(7, { trace: true });
    const again = await simulate(7, { trace: true });
    expect(first.trace.length).to.be.greaterThan(100);
    expect(again.trace).to.deep.equal(first.trace);
    expect(again.hash).to.equal(first.hash);
    expect((await simulate(8)).hash).to.not.equal(first.hash);
  });
});
