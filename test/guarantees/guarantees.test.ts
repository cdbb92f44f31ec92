import { expect } from 'chai';
import type { RecordedEvent } from '@refold/core';
import { disorderOf, type Effects } from '../crash/effects.js';
import { deliverThroughKills, type Outcome } from './kills.js';
import { BATCH_SIZE, PARTITIONS } from './orders.js';
import { withTarget } from './targets.js';

const KILLS = 8;
const seed = Number(process.env['REFOLD_CRASH_SEED'] ?? 1);

for (const name of ['sqlite', 'postgres']) {
  describe(`deliveries through ${KILLS} kills of seed ${seed} on ${name}`, () => {
    let outcome: Outcome;

    before(async function () {
      this.timeout(300_000);
      outcome = await withTarget(name, (target) => deliverThroughKills(target, { kills: KILLS, seed }));
    });

    after(() => withTarget(name, (target) => target.close()));

    const timesOf = (effects: Effects): number[] =>
      outcome.events.map(({ position }: RecordedEvent) => effects.times(position));

    it('exactlyOnce has every effect once, in the order of its sequence', () => {
      const { inside, events } = outcome;
      const positions = inside.map(({ position }) => position).sort((a, b) => a - b);
      expect(positions).to.deep.equal(events.map(({ position }) => position));
      expect(disorderOf(inside)).to.deep.equal([]);
    });

    it('atLeastOnce leaves no effect out, in order, and repeats nothing but the batch in hand', () => {
      const effects = outcome.outside.at_least_once;
      expect(timesOf(effects).filter((times) => times < 1)).to.deep.equal([]);
      expect(effects.disorder()).to.deep.equal([]);
      expect(effects.repeatsOfCommitted()).to.deep.equal([]);
      expect(effects.repeats, 'a kill must have hit a batch')
        .to.be.above(0)
        .and.at.most(outcome.kills * 2 * PARTITIONS * BATCH_SIZE);
    });

    it('atMostOnce repeats no effect, and loses at most the events in hand', () => {
      const effects = outcome.outside.at_most_once;
      expect(timesOf(effects).filter((times) => times > 1)).to.deep.equal([]);
      expect(effects.disorder()).to.deep.equal([]);
      const lost = timesOf(effects).filter((times) => times === 0).length;
      expect(lost, 'a kill must have hit an event')
        .to.be.above(0)
        .and.at.most(outcome.kills * 2 * PARTITIONS);
    });
  });
}
