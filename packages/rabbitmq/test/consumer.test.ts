import { createApplication, defineEvent, memoryStore, receiver, silentLogger } from '@refold/core';
import { rabbitmqConsumer, rabbitmqTransport, type RabbitmqConsumerOptions } from '@refold/rabbitmq';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { freshName, Observer, useRabbitmq } from './broker.js';
import { idsOf, message, messages, sendUntilAccepted, until } from './messages.js';
import { Proxy } from './proxy.js';

type Consumer = ReturnType<typeof rabbitmqConsumer>;
type Handler = Parameters<Consumer['run']>[0];

describe('a consumer of RabbitMQ', () => {
  const broker = useRabbitmq();
  const ends: (() => Promise<unknown>)[] = [];
  let observer: Observer;
  let queue: string;

  beforeEach(async () => {
    observer = await Observer.at(broker().address);
    queue = freshName('orders');
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    await observer.close();
  });

  /** Sends to the queue, which it declares first. */
  async function send(batch: Parameters<typeof sendUntilAccepted>[1], args = {}): Promise<void> {
    await observer.queue(queue, args);
    const transport = rabbitmqTransport({ url: broker().address });
    await sendUntilAccepted(transport, batch);
    await transport.close();
  }

  function start(
    handler: Handler,
    options: Partial<RabbitmqConsumerOptions> = {},
  ): { running: Promise<void> } {
    const stop = new AbortController();
    const consumer = rabbitmqConsumer({
      ...{ url: broker().address, queue, logger: silentLogger, retryDelayMs: 1 },
      ...options,
    });
    const running = consumer.run(handler, { signal: stop.signal });
    running.catch(() => undefined);
    ends.push(() => {
      stop.abort();
      return running.catch(() => undefined);
    });
    return { running };
  }

  it('handles as many keys at once as it may, and each in order', async () => {
    const batch = messages(queue, 300);
    await send(batch);
    let [inHand, most] = [0, 0];
    const handled: string[] = [];
    start(
      async ({ id }) => {
        most = Math.max(most, (inHand += 1));
        await new Promise((resolve) => setImmediate(resolve));
        inHand -= 1;
        handled.push(id);
      },
      { concurrency: 3 },
    );
    await until(() => handled.length === 300);
    expect(most).to.equal(3);
    for (const key of ['a', 'b', 'c']) {
      const ofKey = idsOf(batch.filter((one) => one.key === key));
      expect(handled.filter((id) => ofKey.includes(id))).to.deep.equal(ofKey);
    }
  });

  it('tries a message again, then stops and leaves it in the queue', async () => {
    await send(messages(queue, 3));
    const attempts: number[] = [];
    const first = start(
      (_, { attempt }) => {
        attempts.push(attempt);
        throw new Error('not now');
      },
      { maxAttempts: 3 },
    );
    expect(await first.running.catch((error: unknown) => String(error))).to.equal('Error: not now');
    expect(attempts).to.deep.equal([1, 2, 3]);
    const handled: unknown[] = [];
    start(({ payload }, { redelivered }) => void handled.push([payload, redelivered]));
    await until(() => handled.length === 3);
    expect(handled[0]).to.deep.equal([{ n: 0 }, true]);
  });

  for (const afterAttempts of ['deadLetter', 'requeue'] as const) {
    it(`goes on behind a message that it gives up by ${afterAttempts}`, async () => {
      const dead = await observer.queue(freshName('dead'));
      const toDead = {
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': dead,
        'x-delivery-limit': 2,
      };
      await send(messages(queue, 3, ['a']), toDead);
      const handled: unknown[] = [];
      start(
        ({ payload }) => {
          if ((payload as { readonly n: number }).n === 1) throw new Error('never');
          handled.push(payload);
        },
        { maxAttempts: 2, afterAttempts },
      );
      const parked = await observer.take(dead);
      await until(() => handled.length === 2 && parked.length === 1);
      expect(handled).to.deep.equal([{ n: 0 }, { n: 2 }]);
      expect(JSON.parse(String(parked[0]?.content))).to.deep.equal({ n: 1 });
    });
  }

  it('gets nothing before the broker knows that the one before it is gone, and then what that one had in hand', async () => {
    await send([message(queue, { payload: 1 })], { 'x-single-active-consumer': true });
    const proxy = await Proxy.before(broker().address);
    ends.push(() => proxy.break());
    let release: (() => void) | undefined;
    start(() => new Promise<void>((resolve) => (release = resolve)), { url: proxy.address });
    ends.push(() => Promise.resolve(release?.()));
    await until(() => release !== undefined);
    proxy.silence();
    const handled: unknown[] = [];
    start(({ payload }) => void handled.push(payload));
    // The broker counts only the consumer that is active: nothing says when the other one waits.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await send([message(queue, { payload: 2 }), message(queue, { payload: 3 })], {
      'x-single-active-consumer': true,
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(handled).to.deep.equal([]);
    await proxy.break();
    await until(() => handled.length === 3);
    expect(handled).to.deep.equal([1, 2, 3]);
  });

  it('hands messages to a receiver, once each in effect', async () => {
    const Happened = defineEvent('Happened', (n: number) => ({ n }));
    const Noted = defineEvent('Noted', (n: number) => ({ n }));
    const notes = receiver('notes').on(Happened, async ({ data }, { unit }) => {
      await app.append('notes-1', [Noted(data.n)], { transaction: unit });
    });
    const store = memoryStore();
    const app = createApplication({ store, events: [Noted], receivers: [notes], logger: silentLogger });
    const batch = messages(queue, 5, ['a']);
    await send([...batch, ...batch]);
    let received = 0;
    start(async (arrived) => {
      await app.receive(notes, arrived);
      received += 1;
    });
    await until(() => received === 10);
    const noted = (await store.readStream('notes-1').toArray()).map(({ data }) => data);
    expect(noted).to.deep.equal([0, 1, 2, 3, 4].map((n) => ({ n })));
  });
});
