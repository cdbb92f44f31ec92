import { after, before, type Suite } from 'mocha';
import { stopKafka } from './kafka.js';
import { stopRabbitmq } from './rabbitmq.js';

// At the root: once, when the last test of the run is over.
after(stopRabbitmq);
after(stopKafka);

/**
 * Starts a service before the first test of a suite, for all that use it. Where it cannot be had the suite's tests are skipped,
 * with the reason in their titles; where CI=true says that it must be there, they fail. To be called inside `describe`.
 */
export function useService<Used extends object>(
  name: string,
  service: () => Promise<Used | { readonly missing: string }>,
): () => Used {
  let used: Used | undefined;
  before(`${name} runs`, async function () {
    this.timeout(300_000);
    const found = await service();
    if (!('missing' in found)) {
      used = found;
      return;
    }
    if (process.env.CI === 'true') throw new Error(`${name}: ${found.missing}`);
    const { parent } = this.test ?? {};
    if (parent) retitle(parent, `skipped: ${name}: ${found.missing}`);
    this.skip();
  });
  return () => {
    if (!used) throw new Error(`${name} is there only while tests run`);
    return used;
  };
}

function retitle(suite: Suite, reason: string): void {
  for (const test of suite.tests) test.title += ` (${reason})`;
  for (const inner of suite.suites) retitle(inner, reason);
}
