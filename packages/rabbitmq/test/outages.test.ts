import { MessageRejectedError, TransportUnavailableError, silentLogger } from '@refold/core';
import { rabbitmqConsumer, rabbitmqStream, rabbitmqTransport } from '@refold/rabbitmq';
import { expect } from 'chai';
import { afterEach, describe, it } from 'mocha';
import { setTimeout as sleep } from 'node:timers/promises';
import { freshName, Observer, useOwnRabbitmq } from './broker.js';
import { firstOnes, idsOf, message, messages, sendUntilAccepted, sent, until } from './messages.js';

describe('a RabbitMQ in trouble', function () {
  this.timeout(120_000);
  const broker = useOwnRabbitmq();
  const open: { close(): Promise<void> }[] = [];

  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
  });

  const observing = async (): Promise<Observer> => {
    const observer = await Observer.at(broker().address);
    open.push(observer);
    return observer;
  };
  const queueThere = async (): Promise<string> => {
    const queue = await (await observing()).queue(freshName('orders'));
    return queue;
  };

  /** RabbitMQ 3.10 forgets the group of a quorum queue if it is killed right after the declaration; the queue then takes nothing. */
  const queuesWrittenDown = (): Promise<void> => sleep(2_000);

  it('that is killed in the midst of sending loses nothing, and keeps the order', async () => {
    const before = await Observer.at(broker().address);
    const queue = await before.queue(freshName('orders'));
    await queuesWrittenDown();
    const transport = rabbitmqTransport({ url: broker().address });
    const batch = messages(queue, 20_000, ['a', 'b', 'c', 'd', 'e']);
    let accepted = 0;
    const sending = (async () => {
      for (let start = 0; start < batch.length; start += 500) {
        await sendUntilAccepted(transport, batch.slice(start, start + 500));
        accepted = start + 500;
      }
    })();
    await until(() => accepted >= 2_000);
    await broker().kill();
    expect(accepted).to.be.below(batch.length);
    await broker().start();
    await sending;
    await transport.close();
    const observer = await observing();
    observer.forget(queue);
    const taken = await observer.take(queue);
    const ids = (): string[] => firstOnes(taken.map(({ properties }) => properties.messageId as string));
    await until(() => ids().length === batch.length);
    const keyOf = new Map(batch.map(({ key, attributes: { id } }) => [id, key]));
    for (const key of ['a', 'b', 'c', 'd', 'e']) {
      const sentOfKey = idsOf(batch.filter((one) => one.key === key));
      expect(ids().filter((id) => keyOf.get(id) === key)).to.deep.equal(sentOfKey);
    }
  });

  it('that is short of memory is not available; what was on its way comes at most twice when there is memory again', async () => {
    const queue = await queueThere();
    const transport = rabbitmqTransport({ url: broker().address, confirmTimeoutMs: 500 });
    open.push(transport);
    expect(await sent(transport, [message(queue)])).to.deep.equal([]);
    await broker().control('set_vm_memory_high_watermark', '0.000001');
    const batch = messages(queue, 50);
    try {
      for (const round of [1, 2, 3]) {
        const failures = await sent(transport, batch);
        expect(failures, `round ${round}`).to.have.lengthOf(50);
        expect(failures[0]?.error).to.be.instanceOf(TransportUnavailableError);
        expect(String(failures[0]?.error)).to.contain('the broker takes no messages: low on memory');
      }
    } finally {
      await broker().control('set_vm_memory_high_watermark', '0.4');
    }
    await sendUntilAccepted(transport, batch);
    const taken = await (await observing()).take(queue);
    const ids = (): string[] => taken.map(({ properties }) => properties.messageId as string);
    const last = message(queue);
    await sendUntilAccepted(transport, [last]);
    await until(() => ids().includes(last.attributes.id));
    expect(firstOnes(ids()).slice(1, -1)).to.deep.equal(idsOf(batch));
    expect(taken.length).to.be.at.most(2 + 2 * batch.length);
  });

  it('that takes less than the options say is learned from: only the message that is too large is rejected', async () => {
    const queue = await queueThere();
    const before = /\d+/.exec(
      await broker().control('eval', '{ok, N} = application:get_env(rabbit, max_message_size), N.'),
    );
    await broker().control('eval', 'application:set_env(rabbit, max_message_size, 2000).');
    try {
      const transport = rabbitmqTransport({ url: broker().address });
      open.push(transport);
      const batch = [
        message(queue, { key: 'a' }),
        message(queue, { key: 'b', body: Buffer.alloc(2_001) }),
        message(queue, { key: 'c' }),
      ];
      const first = await sent(transport, batch);
      expect(first.map(({ index }) => index)).to.include(1);
      for (const { error } of first) expect(error).to.be.instanceOf(TransportUnavailableError);
      const [second, ...others] = await sent(transport, batch);
      expect(others).to.deep.equal([]);
      expect(second).to.have.property('index', 1);
      expect(second?.error).to.be.instanceOf(MessageRejectedError).and.have.property('permanent', true);
      expect(String(second?.error)).to.contain('it has 2001 bytes, and the broker takes 2000');
    } finally {
      await broker().control('eval', `application:set_env(rabbit, max_message_size, ${before?.[0]}).`);
    }
  });

  it('that is killed takes no message from a consumer, nor from a reader of a stream', async () => {
    const [queue, stream] = [freshName('orders'), freshName('history')];
    const topology = {
      queues: [
        // Without it, the broker may begin with later messages while it still counts on the consumer that was there before.
        { name: queue, singleActiveConsumer: true },
        { name: stream, type: 'stream' },
      ],
    } as const;
    const transport = rabbitmqTransport({ url: broker().address, topology });
    open.push(transport);
    const batch = messages(queue, 3_000);
    const history = messages(stream, 3_000);
    await sendUntilAccepted(transport, [...batch.slice(0, 1_500), ...history.slice(0, 1_500)]);
    await queuesWrittenDown();

    const stop = new AbortController();
    open.push({ close: async () => Promise.resolve(stop.abort()) });
    const handled: string[] = [];
    const consumer = rabbitmqConsumer({ url: broker().address, queue, logger: silentLogger });
    const consuming = consumer.run(({ id }) => void handled.push(id), { signal: stop.signal });
    const reads = Array.from({ length: 8 }, (): string[] => []);
    let failed: unknown;
    let kill = (): void => {};
    const killed = new Promise<void>((resolve) => (kill = resolve));
    const reading = reads.map(async (read, place) => {
      if (place > 0) await killed;
      // They come one after the other: some of them when the stream is there, and cannot be read yet.
      await sleep(125 * place);
      const log = rabbitmqStream({ url: broker().address, queue: stream, batchSize: 100 });
      open.push(log);
      const batches = log.read(0, 0, stop.signal);
      for await (const { events } of batches) read.push(...events.map(({ id }) => id));
    });
    for (const one of [consuming, ...reading]) one.catch((error: unknown) => (failed = error));
    const all = async (look: (ids: readonly string[]) => boolean): Promise<void> => {
      await until(() => failed !== undefined || [handled, ...reads].every(look));
      expect(failed).to.equal(undefined);
    };
    await until(() => handled.length >= 500 && (reads[0]?.length ?? 0) >= 500);
    await broker().kill();
    kill();
    await broker().start();
    await sendUntilAccepted(transport, [...batch.slice(1_500), ...history.slice(1_500)]);
    await all((ids) => firstOnes(ids).length === 3_000);
    stop.abort();
    await Promise.all([consuming, ...reading]);
    expect(firstOnes(handled)).to.deep.equal(idsOf(batch));
    // The stream may have messages twice, since the sender may have sent them twice: the reader adds none.
    for (const read of reads) expect(firstOnes(read)).to.deep.equal(idsOf(history));
    const observer = await observing();
    observer.forget(queue);
    observer.forget(stream);
  });
});
