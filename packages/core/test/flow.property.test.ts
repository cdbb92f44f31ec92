import { assert } from 'chai';
import fc from 'fast-check';
import { Meter } from '../dist/deliveries/flow/meter.js';
import { TokenBucket } from '../dist/deliveries/flow/token-bucket.js';

/** A clock that only moves by sleeping, and when told to. */
class StillClock {
  time = 1_000_000;

  now(): number {
    return this.time;
  }

  sleep(ms: number): Promise<void> {
    this.time += ms;
    return Promise.resolve();
  }
}

const never = new AbortController().signal;

describe('a token bucket', () => {
  it('grants what was asked for in the end, never more than its rate and what it has saved up', async () => {
    const steps = fc.array(
      fc.record({ wanted: fc.integer({ min: 1, max: 20 }), restMs: fc.integer({ min: 0, max: 3000 }) }),
      {
        minLength: 1,
        maxLength: 15,
      },
    );
    const rates = fc.record({
      perSecond: fc.double({ min: 0.1, max: 5000, noNaN: true }),
      burst: fc.integer({ min: 1, max: 100 }),
    });
    await fc.assert(
      fc.asyncProperty(rates, steps, async (rate, plan) => {
        const clock = new StillClock();
        const bucket = new TokenBucket(rate, clock);
        const grants: { readonly at: number; readonly count: number }[] = [];
        for (const { wanted, restMs } of plan) {
          clock.time += restMs;
          for (let left = wanted; left > 0;) {
            const count = await bucket.take(left, never);
            assert.isAtLeast(count, 1);
            assert.isAtMost(count, left);
            grants.push({ at: clock.time, count });
            left -= count;
          }
        }
        for (const [from, { at }] of grants.entries()) {
          let sum = 0;
          for (const grant of grants.slice(from)) {
            sum += grant.count;
            const most = rate.burst + ((grant.at - at) * rate.perSecond) / 1000;
            assert.isAtMost(sum, most + 1e-6);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('gives nothing for a clock that is set back, and goes on from there', async () => {
    const clock = new StillClock();
    const bucket = new TokenBucket({ perSecond: 10, burst: 1 }, clock);
    assert.equal(await bucket.take(1, never), 1);
    clock.time -= 60_000;
    const before = clock.time;
    assert.equal(await bucket.take(1, never), 1);
    assert.equal(clock.time - before, 100);
  });
});

describe('a meter', () => {
  it('tells the rate of the last ten seconds, and all there was', () => {
    const clock = new StillClock();
    const meter = new Meter(clock);
    meter.add(5);
    assert.equal(meter.perSecond, 5);
    for (let second = 0; second < 20; second++) {
      clock.time += 1000;
      meter.add(30);
    }
    assert.equal(meter.all, 605);
    assert.approximately(meter.perSecond, 30, 4);
    clock.time += 11_000;
    assert.equal(meter.perSecond, 0);
  });
});
