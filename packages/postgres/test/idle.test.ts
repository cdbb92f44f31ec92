import { createApplication, defineEvent, documentProjection, silentLogger } from '@refold/core';
import { expect } from 'chai';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import type { CuttingProxy } from './cutting-proxy.js';
import { Fixture } from './fixture.js';
import { stopTestDatabase } from './server.js';

after(stopTestDatabase);

const Counted = defineEvent('Counted', (by: number) => ({ by }));

/** Long enough for polling and for the renewal of leases. */
const IDLE_SECONDS = 4;

describe('an idle store with 20 projections', () => {
  let fixture: Fixture;
  let proxy: CuttingProxy;
  const projections = Array.from({ length: 20 }, (_, n) =>
    documentProjection(`counted_${n}`, { initial: () => ({ sum: 0 }) }).on(Counted, ({ sum }, { data }) => ({
      sum: sum + data.by,
    })),
  );

  beforeEach(async () => {
    fixture = await Fixture.create();
    proxy = await fixture.proxy();
  });
  afterEach(() => fixture.end());

  for (const [how, listen, few] of [
    ['that listens', undefined, 5],
    // Four looks at the head, beside what its worker asks.
    ['that polls', false, 8],
  ] as const) {
    it(`${how} asks the database at most ${few} things a second, and is awake at once`, async () => {
      const store = await fixture.open({ listen }, proxy.address);
      const app = createApplication({ store, projections, logger: silentLogger });
      const ended = new AbortController();
      const running = app.worker().run({ signal: ended.signal });
      const { position } = await app.append('count-1', [Counted(1)]);
      for (const projection of projections) await app.waitFor(projection, position);
      await quiet(proxy, 2 * few);
      const before = proxy.statements.length;
      await sleep(IDLE_SECONDS * 1000);
      const asked = proxy.statements.slice(before);
      expect(asked.length / IDLE_SECONDS, asked.join('\n')).to.be.at.most(few);
      const writer = await fixture.open();
      await writer.append('count-1', [{ type: 'Counted', data: { by: 1 } }]);
      for (const projection of projections) await app.waitFor(projection, position + 1);
      ended.abort();
      await running;
    });
  }
});

/** Resolves when the rush after an append is over: hardly more was asked within a second than an idle store asks. */
async function quiet(proxy: CuttingProxy, few: number): Promise<void> {
  for (let last = -Infinity; proxy.statements.length - last > few; await sleep(1000)) {
    last = proxy.statements.length;
  }
}
