import { expect } from 'chai';
import { useService } from '../services/in-tests.js';
import type { RunningBroker } from './broker.js';
import { brokers } from './brokers.js';
import { deliverThroughCrashes } from './delivery-run.js';

const MESSAGES = 3000;
const KILLS = 6;
const seed = Number(process.env['REFOLD_CRASH_SEED'] ?? 1);

for (const target of brokers) {
  describe(`a delivery by ${target.name} through ${KILLS} kills of seed ${seed}`, () => {
    const broker = useService<RunningBroker>(`${target.name} for crashes`, () => target.service());

    it('loses nothing, repeats nothing in effect, and keeps the order of every key', async () => {
      const outcome = await deliverThroughCrashes(target, broker(), {
        ...{ messages: MESSAGES, messagesAKill: MESSAGES / KILLS, seed },
      });
      expect(outcome.problems).to.deep.equal([]);
      expect(outcome.events).to.equal(MESSAGES);
      expect(outcome.kills.relay + outcome.kills.consumer + outcome.kills.broker).to.equal(KILLS - 1);
    }).timeout(300_000);
  });
}
