import {
  createApplication,
  defineEvent,
  delivery,
  receiveWebhook,
  silentLogger,
  webhookTransport,
  type Application,
  type MessageDelivery,
  type MessageDeliveryOptions,
  type WebhookTransportOptions,
} from '@refold/core';
import { expect } from 'chai';
import { Fixture, stores, until, workUntilTheEnd } from '../processors/fixture.js';
import { Endpoint, SECRET, type Arrived } from './endpoint.js';

const Placed = defineEvent('Placed', (number: number) => ({ number }));

function numberOf({ body }: Arrived): number {
  return (JSON.parse(body.toString()) as { number: number }).number;
}

for (const { name, open } of stores.slice(0, 2)) {
  describe(`a delivery of webhooks, on ${name}`, () => {
    const fixture = new Fixture();
    let endpoint: Endpoint;
    let accepted: { readonly stream: string; readonly number: number }[];

    beforeEach(async () => {
      accepted = [];
      endpoint = await new Endpoint().start();
      fixture.defer(() => endpoint.stop());
      endpoint.answer = (request) => take(request);
    });
    afterEach(() => fixture.end());

    /** Accepts a message, as a receiver would that knows the secret. */
    function take({ headers, body }: Arrived): number {
      const { attributes, payload } = receiveWebhook({ headers, body, secret: SECRET });
      accepted.push({ stream: attributes.subject ?? '', number: (payload as { number: number }).number });
      return 200;
    }

    async function applicationWith(
      transport: Partial<WebhookTransportOptions> = {},
      options: Partial<MessageDeliveryOptions> = {},
    ): Promise<{ app: Application; out: MessageDelivery }> {
      const out = delivery('orders_out', {
        retry: { firstDelayMs: 5, maxDelayMs: 50 },
        ...options,
        transport: webhookTransport({
          ...{ url: endpoint.url, secret: SECRET, circuit: { failures: 3, openMs: 30 } },
          ...transport,
        }),
      }).on(Placed);
      const store = await open(await fixture.folder());
      const app = createApplication({ store, deliveries: [out], logger: silentLogger });
      fixture.defer(() => app.close());
      return { app, out };
    }

    /** Appends numbers from 1, to so many streams in turn. */
    async function place(app: Application, count: number, streams = 5): Promise<number> {
      for (let number = 1; number <= count; number++) {
        await app.append(`order-${number % streams}`, [Placed(number)]);
      }
      return app.head();
    }

    /** That every stream was accepted whole and in order; repeats of what was accepted before are left out. */
    function expectAll(count: number, streams = 5): void {
      for (let stream = 0; stream < streams; stream++) {
        const numbers = accepted
          .filter((one) => one.stream === `order-${stream}`)
          .map(({ number }) => number);
        const expected = Array.from({ length: count }, (_, index) => index + 1).filter(
          (number) => number % streams === stream,
        );
        expect([...new Set(numbers)]).to.deep.equal(expected);
      }
    }

    it('loses nothing while the endpoint is down, parks nothing, and keeps the order', async () => {
      const { app, out } = await applicationWith();
      workUntilTheEnd(app, fixture);
      await place(app, 20);
      await until(() => accepted.length >= 5);
      await endpoint.stop();
      const head = await place(app, 60);
      // Long enough for more attempts than a message has.
      const retrying = async (): Promise<number> =>
        (await app.processor(out).status()).partitions[0]?.retrying?.attempts ?? 0;
      await until(async () => (await retrying()) > 8);
      expect((await app.processor(out).status()).deadLetters).to.equal(0);
      await endpoint.start();
      await app.waitFor(out, head);
      expect(await app.processor(out).deadLetters.count()).to.equal(0);
      const second = accepted.slice(20);
      expect(second).to.have.length(60);
      accepted = accepted.slice(0, 20);
      expectAll(20);
      accepted = second;
      expectAll(60);
    });

    it('parks a message that is rejected, and what follows in its stream, while others flow', async () => {
      const { app, out } = await applicationWith({}, { retry: { maxAttempts: 3, firstDelayMs: 1 } });
      let broken = true;
      endpoint.answer = (request) => (broken && numberOf(request) === 7 ? 500 : take(request));
      workUntilTheEnd(app, fixture);
      const head = await place(app, 40);
      await app.waitFor(out, head);
      expect(endpoint.requests.filter((one) => numberOf(one) === 7)).to.have.length(3);
      expect(accepted).to.have.length(40 - 7);
      const letters = await app.processor(out).deadLetters.list();
      expect(letters[0]?.error?.message).to.contain('it answered 500');
      broken = false;
      await app.processor(out).deadLetters.retry();
      await until(() => accepted.length === 40);
      expectAll(40);
    });

    for (const [what, status] of [
      ['that is never answered', undefined],
      ['at which the endpoint breaks', 502],
    ] as const) {
      it(`parks a message ${what}, when that has gone on long enough`, async () => {
        const { app, out } = await applicationWith(
          { suspectAfterMs: 100, timeoutMs: 50 },
          { retry: { maxAttempts: 2, firstDelayMs: 1, maxDelayMs: 10 } },
        );
        endpoint.answer = (request) => (numberOf(request) === 7 ? status : take(request));
        workUntilTheEnd(app, fixture);
        const head = await place(app, 40);
        await app.waitFor(out, head);
        expect(accepted).to.have.length(40 - 7);
        expect(await app.processor(out).deadLetters.count()).to.equal(7);
      });
    }

    it('waits as long as the endpoint asks', async () => {
      const { app, out } = await applicationWith({ concurrency: 1 });
      let askedAt = 0;
      let calledAgainAt = 0;
      endpoint.answer = (request, response) => {
        if (askedAt === 0) {
          askedAt = performance.now();
          response.writeHead(429, { 'retry-after': '1' }).end();
          return;
        }
        calledAgainAt ||= performance.now();
        return take(request);
      };
      workUntilTheEnd(app, fixture);
      const head = await place(app, 10);
      await app.waitFor(out, head);
      expect(calledAgainAt - askedAt).to.be.at.least(990);
      expect(await app.processor(out).deadLetters.count()).to.equal(0);
      expectAll(10);
    });

    it('stops at an endpoint that is gone, and goes on when it is resumed', async () => {
      const { app, out } = await applicationWith();
      endpoint.answer = () => 410;
      const { ended } = workUntilTheEnd(app, fixture);
      const head = await place(app, 3);
      await ended.then(
        () => expect.fail('it should stop'),
        (error: Error) => expect(error.message).to.contain('wants no more messages'),
      );
      expect((await app.processor(out).status()).state).to.equal('stopped');
      endpoint.answer = (request) => take(request);
      await app.processor(out).resume();
      workUntilTheEnd(app, fixture, { name: 'second' });
      await app.waitFor(out, head);
      expectAll(3);
    });

    it('that goes to many endpoints holds nobody up for the one that is down', async () => {
      const down = await new Endpoint().start();
      await down.stop();
      const { app, out } = await applicationWith(
        {
          url: ({ attributes }) => (attributes.subject === 'order-1' ? down.url : endpoint.url),
          allowPrivateNetworks: true,
        },
        {
          retry: { maxAttempts: 2, firstDelayMs: 1 },
          deadLetters: { retryAfterMs: [1, 1, 1, 1, 1, 1, 1, 1, 1] },
        },
      );
      workUntilTheEnd(app, fixture);
      const head = await place(app, 20);
      await app.waitFor(out, head);
      expect(accepted).to.have.length(16);
      fixture.defer(() => down.stop());
      down.answer = (request) => take(request);
      await down.start();
      await until(() => accepted.length === 20);
      expectAll(20);
    });
  });
}
