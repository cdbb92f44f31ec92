import {
  DefinitionError,
  MessageRejectedError,
  newWebhookSecret,
  SubscriberGoneError,
  TransportUnavailableError,
  webhookTransport,
  type Message,
  type SendResult,
  type WebhookTransport,
  type WebhookTransportOptions,
} from '@refold/core';
import { expect } from 'chai';
import fc from 'fast-check';
import { until } from '../processors/fixture.js';
import { Endpoint, indexOf, message, never, SECRET } from './endpoint.js';

describe('the webhook transport', () => {
  const closing: { close(): Promise<void> }[] = [];
  let endpoint: Endpoint;
  beforeEach(async () => {
    endpoint = await new Endpoint().start();
  });
  afterEach(async () => {
    for (const one of closing.splice(0)) await one.close();
    await endpoint.stop();
  });

  function transportTo(options: Partial<WebhookTransportOptions> = {}): WebhookTransport {
    const transport = webhookTransport({ url: endpoint.url, secret: SECRET, ...options });
    closing.push(transport);
    return transport;
  }

  /** What became of one message: the error, or undefined if it was accepted. */
  async function outcome(transport: WebhookTransport, one: Message = message(1)): Promise<unknown> {
    const { failures } = await transport.send([one], never());
    return failures[0]?.error;
  }

  function summary({ failures }: SendResult): string[] {
    return failures.map(
      ({ index, error }) => `${index} ${error instanceof Error ? error.name : 'not tried'}`,
    );
  }

  describe('accepts and rejects', () => {
    it('by the status of the answer', async () => {
      const transport = transportTo({ circuit: { failures: 1000 } });
      const kindOf = async (status: number): Promise<string> => {
        endpoint.answer = () => status;
        const error = await outcome(transport);
        if (error === undefined) return 'accepted';
        if (error instanceof TransportUnavailableError) return 'unavailable';
        if (error instanceof SubscriberGoneError) return 'gone';
        if (!(error instanceof MessageRejectedError))
          return error instanceof Error ? error.message : 'unknown';
        expect(error.message).to.contain(String(status)).and.to.contain(endpoint.url);
        return error.permanent ? 'permanent' : 'rejected';
      };
      for (const [kind, statuses] of [
        ['accepted', [200, 201, 202, 204]],
        ['unavailable', [408, 425, 429, 502, 503, 504]],
        ['rejected', [301, 307, 400, 401, 403, 404, 409, 422, 500, 501]],
        ['permanent', [413]],
        ['gone', [410]],
      ] as const) {
        for (const status of statuses) expect(await kindOf(status), String(status)).to.equal(kind);
      }
    });

    it('with the beginning of what the endpoint said', async () => {
      endpoint.answer = (_, response) => {
        response.writeHead(422).end(`no such\n\torder ${'x'.repeat(5000)}`);
      };
      const error = await outcome(transportTo());
      expect(error).to.be.instanceOf(MessageRejectedError);
      expect((error as Error).message)
        .to.contain('422: no such order xxx')
        .and.to.have.length.below(900);
    });

    it('by the status alone, if the rest of the answer does not come or never ends', async () => {
      endpoint.answer = (_, response) => {
        response.writeHead(200, { 'content-length': 100 });
        response.write('half');
        setTimeout(() => response.destroy(), 20);
      };
      expect(await outcome(transportTo())).to.equal(undefined);
      endpoint.answer = (_, response) => {
        response.writeHead(200);
        response.on('drain', () => response.write('x'.repeat(10_000)));
        for (let part = 0; part < 20; part++) response.write('x'.repeat(10_000));
      };
      expect(await outcome(transportTo())).to.equal(undefined);
    });

    it('messages that HTTP cannot carry for good, and others with them in a batch', async () => {
      const transport = transportTo();
      const bad: Partial<Message>[] = [
        { headers: { 'x-note': 'line\nbreak' } },
        { headers: { 'Content-Length': '1' } },
        { attributes: { ...message(1).attributes, 'no name': 'x' } },
      ];
      for (const one of bad) {
        const result = await transport.send([message(1, one), message(2)], never());
        expect(summary(result)).to.deep.equal(['0 MessageRejectedError']);
        expect((result.failures[0]?.error as MessageRejectedError).permanent).to.equal(true);
      }
    });
  });

  describe('finds an endpoint unavailable', () => {
    it('that refuses connections, breaks them, or has no name', async () => {
      const transport = transportTo();
      endpoint.answer = () => endpoint.hangUp();
      expect(await outcome(transport)).to.be.instanceOf(TransportUnavailableError);
      await endpoint.stop();
      const refused = await outcome(transport);
      expect(refused).to.be.instanceOf(TransportUnavailableError);
      expect((refused as Error).message).to.contain('ECONNREFUSED');
      const nowhere = transportTo({ url: 'http://nowhere.invalid/' });
      expect(await outcome(nowhere)).to.be.instanceOf(TransportUnavailableError);
    });

    it('and keeps to the time that it asks for, up to an hour', async () => {
      const asked = async (header: string): Promise<number | undefined> => {
        endpoint.answer = (_, response) => void response.writeHead(503, { 'retry-after': header }).end();
        const error = await outcome(transportTo());
        expect(error).to.be.instanceOf(TransportUnavailableError);
        return (error as TransportUnavailableError).retryAfterMs;
      };
      expect(await asked('7')).to.equal(7000);
      expect(await asked('0')).to.equal(0);
      expect(await asked(new Date(Date.now() + 60_000).toUTCString())).to.be.within(50_000, 60_000);
      expect(await asked('31536000')).to.equal(3_600_000);
      expect(await asked('soon')).to.equal(undefined);
    });

    it('which others then do not disturb before that time', async () => {
      endpoint.answer = (_, response) => void response.writeHead(429, { 'retry-after': '60' }).end();
      const transport = transportTo();
      await outcome(transport);
      const next = await outcome(transport, message(2));
      expect(next).to.be.instanceOf(TransportUnavailableError);
      expect((next as TransportUnavailableError).retryAfterMs).to.be.within(50_000, 60_000);
      expect(endpoint.requests).to.have.length(1);
    });

    it('and connects anew when it is back', async () => {
      const transport = transportTo({ circuit: { failures: 1000 } });
      expect(await outcome(transport)).to.equal(undefined);
      await endpoint.stop();
      expect(await outcome(transport)).to.be.instanceOf(TransportUnavailableError);
      await endpoint.start();
      expect(await outcome(transport)).to.equal(undefined);
    });

    it('but not for connections that it closed while they were idle', async () => {
      const transport = transportTo();
      const batch = Array.from({ length: 10 }, (_, index) => message(index));
      for (let round = 0; round < 20; round++) {
        expect((await transport.send(batch, never())).failures).to.deep.equal([]);
        endpoint.hangUp();
      }
    });
  });

  describe('leaves an endpoint alone', () => {
    it('that did not answer several times, then tries with one message', async () => {
      const transport = transportTo({ circuit: { failures: 3, openMs: 100 }, concurrency: 1 });
      endpoint.answer = () => 503;
      const batch = Array.from({ length: 10 }, (_, index) => message(index));
      expect((await transport.send(batch, never())).failures).to.have.length(10);
      expect(endpoint.requests).to.have.length(3);
      const closed = (await outcome(transport)) as TransportUnavailableError;
      expect(closed.retryAfterMs).to.be.within(1, 100);
      await until(async () => {
        await outcome(transport);
        return endpoint.requests.length > 3;
      });
      expect((await transport.send(batch, never())).failures).to.have.length(10);
      expect(endpoint.requests).to.have.length(4);
      endpoint.answer = () => 200;
      await until(async () => (await outcome(transport)) === undefined);
      expect((await transport.send(batch, never())).failures).to.deep.equal([]);
    });

    it('with one try at a time, however many wait', async () => {
      const transport = transportTo({ circuit: { failures: 1, openMs: 30 } });
      endpoint.answer = () => 503;
      await outcome(transport);
      const answers: (() => void)[] = [];
      endpoint.answer = () => new Promise((resolve) => answers.push(() => resolve(200)));
      const tried = (async () => {
        while ((await outcome(transport)) !== undefined);
      })();
      await until(() => answers.length === 1);
      const batch = Array.from({ length: 10 }, (_, index) => message(index));
      expect((await transport.send(batch, never())).failures).to.have.length(10);
      expect(endpoint.requests).to.have.length(2);
      answers[0]?.();
      await tried;
    });

    it('never for messages that it rejects', async () => {
      const transport = transportTo({ circuit: { failures: 1, openMs: 60_000 } });
      for (const status of [500, 404, 400]) {
        endpoint.answer = () => status;
        for (let time = 0; time < 5; time++) {
          expect(await outcome(transport)).to.be.instanceOf(MessageRejectedError);
        }
      }
      expect(endpoint.requests).to.have.length(15);
    });

    it('and not the other endpoints', async () => {
      const other = await new Endpoint().start();
      closing.push({ close: () => other.stop() });
      const transport = transportTo({
        url: ({ topic }) => (topic === 'down' ? endpoint.url : other.url),
        allowPrivateNetworks: true,
        circuit: { failures: 1, openMs: 60_000 },
      });
      endpoint.answer = () => 503;
      const batch = Array.from({ length: 6 }, (_, index) =>
        message(index, { topic: index % 2 === 0 ? 'down' : 'up' }),
      );
      for (let round = 0; round < 2; round++) {
        const result = await transport.send(batch, never());
        // What waits for one endpoint would hold back the messages for all others.
        expect(summary(result)).to.deep.equal([0, 2, 4].map((index) => `${index} MessageRejectedError`));
      }
      expect(other.requests).to.have.length(6);
    });
  });

  describe('in doubt whose fault it is that no answer comes', () => {
    const poison = message(0);

    it('blames the message if others are answered meanwhile', async () => {
      const transport = transportTo({ timeoutMs: 300 });
      endpoint.answer = (request) => (indexOf(request) === 0 ? undefined : 200);
      const result = await transport.send([poison, message(1), message(2)], never());
      expect(summary(result)).to.deep.equal(['0 MessageRejectedError']);
    });

    it('blames the endpoint if nothing is answered, and the message after some time', async () => {
      const transport = transportTo({ timeoutMs: 20, suspectAfterMs: 150, circuit: { failures: 1000 } });
      endpoint.answer = () => undefined;
      expect(await outcome(transport, poison)).to.be.instanceOf(TransportUnavailableError);
      const errors: unknown[] = [];
      await until(async () => {
        errors.push(await outcome(transport, poison));
        return errors.at(-1) instanceof MessageRejectedError;
      });
      // Now it is rather the endpoint: the next message is given twice the time.
      const begun = performance.now();
      await until(async () => (await outcome(transport, message(1))) instanceof MessageRejectedError);
      expect(performance.now() - begun).to.be.above(290);
    });

    it('forgets what it held against a message when the endpoint answers', async () => {
      const transport = transportTo({ suspectAfterMs: 50, circuit: { failures: 1000 } });
      endpoint.answer = () => 502;
      await until(async () => (await outcome(transport, poison)) instanceof MessageRejectedError);
      endpoint.answer = () => 200;
      await outcome(transport, message(1));
      endpoint.answer = () => 502;
      expect(await outcome(transport, poison)).to.be.instanceOf(TransportUnavailableError);
    });
  });

  describe('follows redirects', () => {
    let target: Endpoint;
    beforeEach(async () => {
      target = await new Endpoint().start();
      closing.push({ close: () => target.stop() });
      endpoint.answer = (_, response) => void response.writeHead(308, { location: target.url }).end();
    });

    it('only when told to, and only so many', async () => {
      const error = (await outcome(transportTo())) as MessageRejectedError;
      expect(error).to.be.instanceOf(MessageRejectedError);
      expect(error.message).to.contain(`308 to ${target.url}`);
      expect(target.requests).to.have.length(0);
      const follows = transportTo({
        redirects: 1,
        allowPrivateNetworks: true,
        headers: { authorization: 'Bearer 1' },
      });
      expect(await outcome(follows)).to.equal(undefined);
      expect(indexOf(target.requests[0] ?? { headers: {}, path: '', body: Buffer.from('{}') })).to.equal(1);
      target.answer = (_, response) => void response.writeHead(307, { location: endpoint.url }).end();
      expect(await outcome(follows)).to.be.instanceOf(MessageRejectedError);
    });

    it('without the secrets of the first origin', async () => {
      const headers = { Authorization: 'Bearer 1' };
      await outcome(transportTo({ redirects: 1, allowPrivateNetworks: true, headers }));
      expect(endpoint.requests[0]?.headers.authorization).to.equal('Bearer 1');
      expect(target.requests[0]?.headers.authorization).to.equal(undefined);
      expect(target.requests[0]?.headers['webhook-signature']).to.match(/^v1,/);
    });

    it('never into private networks, unless they are allowed', async () => {
      const error = (await outcome(transportTo({ redirects: 1 }))) as MessageRejectedError;
      expect(error).to.be.instanceOf(MessageRejectedError);
      expect(error.message).to.contain('127.0.0.1 is not on the public internet');
      expect(target.requests).to.have.length(0);
    });

    it('only such as leave the message as it is', async () => {
      for (const status of [301, 302, 303]) {
        endpoint.answer = (_, response) => void response.writeHead(status, { location: target.url }).end();
        const error = await outcome(transportTo({ redirects: 5, allowPrivateNetworks: true }));
        expect(error, String(status)).to.be.instanceOf(MessageRejectedError);
      }
      expect(target.requests).to.have.length(0);
    });
  });

  describe('calls no private address', () => {
    it('that a function of the message names, by number or by name', async () => {
      const port = new URL(endpoint.url).port;
      for (const host of [
        '127.0.0.1',
        '2130706433',
        '0x7f.1',
        'localhost',
        '[::1]',
        '[::ffff:127.0.0.1]',
        '10.1.2.3',
        '169.254.169.254',
      ]) {
        const error = await outcome(transportTo({ url: () => `http://${host}:${port}/` }));
        expect(error, host).to.be.instanceOf(MessageRejectedError);
        expect((error as MessageRejectedError).permanent, host).to.equal(true);
        expect((error as Error).message, host).to.contain('not on the public internet');
      }
      expect(endpoint.connections).to.equal(0);
      expect(await outcome(transportTo({ allowPrivateNetworks: false }))).to.be.instanceOf(
        MessageRejectedError,
      );
      expect(endpoint.connections).to.equal(0);
      expect(await outcome(transportTo({ url: () => endpoint.url, allowPrivateNetworks: true }))).to.equal(
        undefined,
      );
    });
  });

  describe('keeps order', () => {
    it('of each key, and tries nothing behind a failure', async () => {
      const transport = transportTo();
      endpoint.answer = (request) => (indexOf(request) === 1 ? 500 : 200);
      const batch = [0, 1, 2, 3, 4].map((index) => message(index, { key: index < 4 ? 'a' : 'b' }));
      const result = await transport.send(batch, never());
      expect(summary(result)).to.deep.equal(['1 MessageRejectedError', '2 not tried', '3 not tried']);
      expect(endpoint.requests.map(indexOf).sort()).to.deep.equal([0, 1, 4]);
    });

    it('whatever fails, under concurrency', async () => {
      const batches = fc.array(
        fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), fails: fc.boolean(), late: fc.boolean() }),
        {
          maxLength: 30,
        },
      );
      await fc.assert(
        fc.asyncProperty(batches, fc.integer({ min: 1, max: 8 }), async (plan, concurrency) => {
          endpoint.requests.length = 0;
          endpoint.most = 0;
          const done: number[] = [];
          endpoint.answer = async (request) => {
            const index = indexOf(request);
            if (plan[index]?.late) await new Promise((resolve) => setTimeout(resolve, 2));
            if (plan[index]?.fails) return 500;
            done.push(index);
            return 200;
          };
          const batch = plan.map(({ key }, index) => message(index, { key }));
          const transport = transportTo({ concurrency });
          const { failures } = await transport.send(batch, never());
          const expected = plan.map(({ key }, index) => {
            const first = plan.findIndex((one) => one.key === key && one.fails);
            return first < 0 || index < first ? 'accepted' : index === first ? 'failed' : 'not tried';
          });
          const actual = plan.map((_, index) => {
            const failure = failures.find((one) => one.index === index);
            return !failure ? 'accepted' : failure.error ? 'failed' : 'not tried';
          });
          expect(actual).to.deep.equal(expected);
          for (const key of ['a', 'b', 'c', 'd']) {
            const own = done.filter((index) => plan[index]?.key === key);
            expect(own).to.deep.equal([...own].sort((one, other) => one - other));
          }
          expect(endpoint.most).to.be.at.most(concurrency);
        }),
        { numRuns: 60 },
      );
    });

    it('bounding what is under way over all batches', async () => {
      const transport = transportTo({ concurrency: 3 });
      endpoint.answer = async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return 200;
      };
      const batch = (from: number): Message[] =>
        Array.from({ length: 10 }, (_, index) => message(from + index));
      const results = await Promise.all([0, 100, 200].map((from) => transport.send(batch(from), never())));
      expect(results.flatMap(({ failures }) => failures)).to.deep.equal([]);
      expect(endpoint.most).to.equal(3);
      expect(endpoint.connections).to.be.at.most(3);
    });
  });

  describe('that is told to stop', () => {
    it('finishes what is under way and begins nothing more', async () => {
      const transport = transportTo({ concurrency: 2, stopMs: 20_000 });
      const answers: (() => void)[] = [];
      endpoint.answer = () => new Promise((resolve) => answers.push(() => resolve(200)));
      const stop = new AbortController();
      const sending = transport.send(
        [0, 1, 2, 3].map((index) => message(index)),
        stop.signal,
      );
      await until(() => answers.length === 2);
      stop.abort();
      answers.forEach((answer) => answer());
      expect(summary(await sending)).to.deep.equal([
        '2 TransportUnavailableError',
        '3 TransportUnavailableError',
      ]);
      expect(endpoint.requests).to.have.length(2);
    });

    it('breaks off what takes too long, and holds that against nobody', async () => {
      const transport = transportTo({ stopMs: 20, circuit: { failures: 1, openMs: 60_000 } });
      endpoint.answer = () => undefined;
      const stop = new AbortController();
      const sending = transport.send([message(0), message(1, { key: 'key-0' })], stop.signal);
      await until(() => endpoint.requests.length === 1);
      stop.abort();
      expect(summary(await sending)).to.deep.equal(['0 TransportUnavailableError', '1 not tried']);
      endpoint.answer = () => 200;
      expect(await outcome(transport)).to.equal(undefined);
    });

    it('sends nothing for a signal that has aborted, or once it is closed', async () => {
      const transport = transportTo();
      expect(summary(await transport.send([message(0)], AbortSignal.abort()))).to.have.length(1);
      await transport.close();
      await transport.close();
      expect(await outcome(transport)).to.be.instanceOf(TransportUnavailableError);
      expect(endpoint.requests).to.have.length(0);
    });
  });

  it('is named without what may be secret', () => {
    const url = 'https://user:password@example.com/in?token=hidden#part';
    expect(transportTo({ url }).name).to.equal('webhook https://example.com/in');
  });

  it('cannot be declared with what makes no sense', () => {
    const secret = newWebhookSecret();
    const all: WebhookTransportOptions[] = [
      { url: 'example.com', secret },
      { url: 'ftp://example.com', secret },
      { url: 'https://example.com', secret, mode: 'batched' as 'binary' },
      { url: 'https://example.com', secret, concurrency: 0 },
      { url: 'https://example.com', secret, timeoutMs: NaN },
      { url: 'https://example.com', secret, headers: { Host: 'other' } },
      { url: 'https://example.com', secret, headers: { 'ce-id': '1' } },
      { url: 'https://example.com', secret, circuit: { failures: 0 } },
    ];
    for (const options of all) {
      expect(() => webhookTransport(options), JSON.stringify(options)).to.throw(DefinitionError);
    }
  });
});
