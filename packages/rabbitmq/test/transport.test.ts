import { InvalidArgumentError, MessageRejectedError, TransportUnavailableError } from '@refold/core';
import { rabbitmqTransport } from '@refold/rabbitmq';
import { expect } from 'chai';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { freshName, Observer, useRabbitmq } from './broker.js';
import { firstOnes, idsOf, message, messages, sendUntilAccepted, sent, until } from './messages.js';
import { Proxy } from './proxy.js';

describe('rabbitmqTransport', () => {
  const broker = useRabbitmq();
  const open: { close(): Promise<void> }[] = [];
  let observer: Observer;

  beforeEach(async () => {
    observer = await Observer.at(broker().address);
  });
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
    await observer.close();
  });

  const transportWith = (options: Partial<Parameters<typeof rabbitmqTransport>[0]> = {}) => {
    const transport = rabbitmqTransport({ url: broker().address, ...options });
    open.push(transport);
    return transport;
  };

  it('publishes persistent messages with properties that others look at', async () => {
    const queue = await observer.queue(freshName('orders'));
    const taken = await observer.take(queue);
    const one = message(queue, { headers: { 'x-tenant': 'north' }, payload: { amount: 7 } });
    const attributes = { ...one.attributes, time: '2026-01-02T03:04:05.678Z', correlationid: 'c-1' };
    expect(await sent(transportWith(), [{ ...one, attributes }])).to.deep.equal([]);
    await until(() => taken.length === 1);
    const { properties, content } = taken[0] ?? {};
    expect(properties).to.include({
      messageId: attributes.id,
      type: 'Happened',
      contentType: 'application/json',
      correlationId: 'c-1',
      deliveryMode: 2,
      timestamp: 1767323045,
    });
    expect(properties?.headers).to.include({ 'x-tenant': 'north', 'cloudEvents:id': attributes.id });
    expect(content?.toString()).to.equal('{"amount":7}');
  });

  it('reports a message that no queue takes, and drops it without a word only if told so', async () => {
    const failures = await sent(transportWith(), [message('nowhere-at-all')]);
    const error = failures[0]?.error;
    expect(error).to.be.instanceOf(MessageRejectedError);
    expect(error).to.have.property('permanent', false);
    expect(String(error)).to.contain('there is no queue (routing key "nowhere-at-all")');
    expect(await sent(transportWith({ mandatory: false }), [message('nowhere-at-all')])).to.deep.equal([]);
  });

  it('reports what a full queue refuses, and nothing else', async () => {
    const full = { 'x-max-length': 1, 'x-overflow': 'reject-publish' };
    const [small, large] = [
      await observer.queue(freshName('small'), full),
      await observer.queue(freshName('large')),
    ];
    const transport = transportWith();
    // A quorum queue may take a few more than it should: it refuses when it has noticed.
    await until(async () => (await sent(transport, [message(small)])).length === 1);
    const batch = [message(large, { key: 'a' }), message(small, { key: 'b' }), message(large, { key: 'c' })];
    const failures = await sent(transport, batch);
    expect(failures.map(({ index }) => index)).to.deep.equal([1]);
    expect(failures[0]?.error).to.be.instanceOf(MessageRejectedError).and.have.property('permanent', false);
    expect(String(failures[0]?.error)).to.contain('refused it (nack)');
    const taken = await observer.take(large);
    await until(() => taken.length === 2);
  });

  it('says that the exchange is missing, and goes on when it is there', async () => {
    const exchange = freshName('shop');
    const transport = transportWith({ exchange });
    const [failure] = await sent(transport, [message('order.placed')]);
    expect(failure?.error).to.be.instanceOf(TransportUnavailableError);
    expect(String(failure?.error)).to.match(/no exchange '.*' in vhost '\/'; declare it/);
    await observer.channel.assertExchange(exchange, 'topic');
    const queue = await observer.queue(freshName('orders'));
    await observer.channel.bindQueue(queue, exchange, 'order.#');
    expect(await sent(transport, [message('order.placed')])).to.deep.equal([]);
    await observer.channel.deleteExchange(exchange);
  });

  it('rejects for good what can never be sent, and accepts its neighbours', async () => {
    const queue = await observer.queue(freshName('orders'));
    const transport = transportWith({ maxMessageBytes: 1_000 });
    const batch = [
      message(queue, { key: 'a' }),
      message(queue, { key: 'b', body: Buffer.alloc(1_001) }),
      message('x'.repeat(256), { key: 'c' }),
      message(queue, { key: 'd', headers: { much: 'x'.repeat(70_000) } }),
      message(queue, { key: 'b' }),
      message(queue, { key: 'e' }),
    ];
    const failures = await sent(transport, batch);
    expect(failures.map(({ index }) => index)).to.deep.equal([1, 2, 3, 4]);
    for (const place of [0, 1, 2]) {
      expect(failures[place]?.error)
        .to.be.instanceOf(MessageRejectedError)
        .and.have.property('permanent', true);
    }
    expect(failures[3]).to.deep.equal({ index: 4 });
    const taken = await observer.take(queue);
    await until(() => taken.length === 2);
  });

  it('waits no longer than it is told to for a broker that is silent, and connects again', async () => {
    const proxy = await Proxy.before(broker().address);
    open.push({ close: () => proxy.break() });
    const queue = await observer.queue(freshName('orders'));
    const taken = await observer.take(queue);
    const transport = transportWith({ url: proxy.address, confirmTimeoutMs: 200 });
    expect(await sent(transport, [message(queue)])).to.deep.equal([]);
    proxy.silence();
    const batch = messages(queue, 20);
    const failures = await sent(transport, batch);
    expect(failures).to.have.lengthOf(20);
    expect(failures[0]?.error).to.be.instanceOf(TransportUnavailableError);
    expect(String(failures[0]?.error)).to.contain('has confirmed nothing for 200 ms');
    await proxy.mend();
    await sendUntilAccepted(transport, batch);
    await until(() => firstOnes(taken.map(({ properties }) => properties.messageId as string)).length === 21);
  });

  it('takes the next address when the first one does not answer', async () => {
    const queue = await observer.queue(freshName('orders'));
    const transport = transportWith({ url: ['amqp://127.0.0.1:1', broker().address] });
    const [failure] = await sent(transport, [message(queue)]);
    expect(String(failure?.error)).to.match(/cannot connect: .*ECONNREFUSED/);
    expect(await sent(transport, [message(queue)])).to.deep.equal([]);
  });

  it('tells that it may not connect, without the password', async () => {
    const url = new URL(broker().address);
    url.password = 'a-secret';
    const transport = transportWith({ url: url.href });
    const [failure] = await sent(transport, [message('orders')]);
    expect(failure?.error).to.be.instanceOf(TransportUnavailableError);
    expect(String(failure?.error)).to.contain('ACCESS_REFUSED').and.not.contain('a-secret');
  });

  it('tells that what is there differs from its topology', async () => {
    const queue = await observer.queue(freshName('orders'));
    const transport = transportWith({ topology: { queues: [{ name: queue, type: 'classic' }] } });
    const [failure] = await sent(transport, [message(queue)]);
    expect(failure?.error).to.be.instanceOf(TransportUnavailableError);
    expect(String(failure?.error)).to.match(/cannot declare its topology: .*inequivalent arg 'x-queue-type'/);
  });

  it('refuses options that make no sense', () => {
    const url = 'amqp://127.0.0.1';
    for (const options of [{ url: '' }, { url: [] }, { url: 'http://127.0.0.1' }, { url, maxInFlight: 0 }]) {
      expect(() => rabbitmqTransport(options)).to.throw(InvalidArgumentError);
    }
    // @ts-expect-error: no such order
    expect(() => rabbitmqTransport({ url, order: 'any' })).to.throw(InvalidArgumentError, "'strict'");
  });

  it('keeps at most so many messages in flight, and sends them all', async () => {
    const queue = await observer.queue(freshName('orders'));
    const taken = await observer.take(queue);
    const batch = messages(queue, 500);
    expect(await sent(transportWith({ maxInFlight: 3 }), batch)).to.deep.equal([]);
    await until(() => taken.length === 500);
    expect(taken.map(({ properties }) => properties.messageId as string)).to.deep.equal(idsOf(batch));
  });
});
