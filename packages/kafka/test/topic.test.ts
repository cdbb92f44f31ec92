import { createTopics } from '@refold/test/services/kafka-topics';
import {
  createApplication,
  defineEvent,
  delivery,
  documentProjection,
  InvalidArgumentError,
  logReader,
  memoryStore,
  silentLogger,
} from '@refold/core';
import { kafkaConsumer, kafkaTopic, kafkaTransport } from '@refold/kafka';
import { useService } from '@refold/test/services/in-tests';
import { ownKafkaService } from '@refold/test/services/kafka';
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientOf, kafkaJsOf } from './fixture.js';

const Measured = defineEvent('Measured', (n: number) => ({ n }));

interface Sum {
  count: number;
  sum: number;
}

describe('a topic of Kafka', () => {
  const broker = useService('Kafka', ownKafkaService);
  let topic: string;

  beforeEach(async () => {
    topic = `topic-${randomUUID().slice(0, 8)}`;
    await createTopics(kafkaJsOf(broker().address), [topic], { partitions: 3 });
  });

  /** Appends measurements of some devices, and sends them to the topic. */
  async function send(
    rounds: number,
    guarantee: 'atLeastOnce' | 'exactlyOnce' = 'atLeastOnce',
  ): Promise<void> {
    const out = delivery('out', {
      transport: kafkaTransport({
        kafka: clientOf(broker().address),
        exactlyOnce: { positionsTopic: `positions-${topic}` },
      }),
      topic,
      guarantee,
    }).on(Measured);
    await using app = createApplication({ store: memoryStore(), deliveries: [out], logger: silentLogger });
    for (let round = 0; round < rounds; round++) {
      for (const device of ['a', 'b', 'c', 'd', 'e']) await app.append(`device-${device}`, [Measured(round)]);
    }
    await app.catchUp();
  }

  const sums = documentProjection('sums', { initial: (): Sum => ({ count: 0, sum: 0 }) }).on(
    Measured,
    ({ count, sum }, { data }) => ({ count: count + 1, sum: sum + data.n }),
  );

  for (const guarantee of ['atLeastOnce', 'exactlyOnce'] as const) {
    it(`is replayed into a read model, and again from its beginning, when it was sent ${guarantee}`, async () => {
      await send(20, guarantee);
      const state = memoryStore();
      const log = kafkaTopic({ kafka: clientOf(broker().address), topic });
      await using reader = logReader({ log, state, projections: [sums], logger: silentLogger });
      await reader.catchUp();
      const expected = { count: 20, sum: 190 };
      const model = reader.readModel(sums);
      for (const device of ['a', 'b', 'c', 'd', 'e']) expect(await model.get(device)).to.deep.equal(expected);
      await reader.rebuild(sums);
      expect(await model.get('e')).to.deep.equal(expected);
      for (const { position, head } of await reader.status(sums)) expect(position).to.equal(head);
      await state.close();
    }).timeout(120_000);
  }

  it('is followed, and what a handler fails on comes again to a consumer', async () => {
    await send(4);
    const stop = new AbortController();
    const seen: string[] = [];
    let failures = 0;
    const consumer = kafkaConsumer({
      ...{ kafka: clientOf(broker().address), groupId: `group-${topic}`, topics: [topic] },
      ...{ retryDelayMs: 1, logger: silentLogger },
    });
    const running = consumer.run(
      ({ key, payload }) => {
        const { n } = payload as { n: number };
        if (key === 'device-b' && n === 2 && failures < 2) {
          failures += 1;
          throw new Error('not yet');
        }
        seen.push(`${key} ${n}`);
      },
      { signal: stop.signal },
    );
    while (seen.length < 20) await sleep(20);
    stop.abort();
    await running;
    expect(failures).to.equal(2);
    const ofB = seen.filter((one) => one.startsWith('device-b'));
    expect(ofB).to.deep.equal([0, 1, 2, 3].map((n) => `device-b ${n}`));
    expect(new Set(seen).size).to.equal(20);
  }).timeout(120_000);

  it('is handled by a consumer in as many partitions at once as it may, each in order', async () => {
    await send(4);
    const stop = new AbortController();
    const [inHand, seen] = [new Set<number>(), new Map<string, number[]>()];
    let most = 0;
    const consumer = kafkaConsumer({
      ...{ kafka: clientOf(broker().address), groupId: `group-${topic}`, topics: [topic] },
      ...{ concurrency: 2, sessionTimeoutMs: 6_000, logger: silentLogger },
    });
    const running = consumer.run(
      async ({ key, payload }, { partition }) => {
        expect(inHand.has(partition), 'two of a partition').to.equal(false);
        inHand.add(partition);
        most = Math.max(most, inHand.size);
        await sleep(20);
        seen.set(key, [...(seen.get(key) ?? []), (payload as { n: number }).n]);
        inHand.delete(partition);
      },
      { signal: stop.signal },
    );
    while ([...seen.values()].flat().length < 20) await sleep(20);
    stop.abort();
    await running;
    expect(most).to.equal(2);
    for (const [key, numbers] of seen) expect(numbers, key).to.deep.equal([0, 1, 2, 3]);
  }).timeout(120_000);

  it('has no consumer whose options make no sense', () => {
    const kafka = clientOf(broker().address);
    for (const option of [{ concurrency: 0 }, { sessionTimeoutMs: 0.5 }, { maxAttempts: -1 }]) {
      expect(() => kafkaConsumer({ kafka, groupId: 'group', topics: [topic], ...option })).to.throw(
        InvalidArgumentError,
        Object.keys(option)[0],
      );
    }
  });

  it('ends a consumer at a message that goes on failing, and gives it to the next one first', async () => {
    await send(1);
    const options = {
      ...{ kafka: clientOf(broker().address), groupId: `group-${topic}`, topics: [topic] },
      ...{ retryDelayMs: 1, maxAttempts: 2, logger: silentLogger },
    };
    const attempts: number[] = [];
    let thrown: unknown;
    await kafkaConsumer(options)
      .run(
        ({ key }, { attempt }) => {
          if (key !== 'device-a') return;
          attempts.push(attempt);
          throw new Error('never');
        },
        { signal: AbortSignal.timeout(60_000) },
      )
      .catch((error: unknown) => (thrown = error));
    expect(String(thrown)).to.equal('Error: never');
    expect(attempts).to.deep.equal([1, 2]);
    const stop = new AbortController();
    const seen: string[] = [];
    const next = kafkaConsumer(options).run(({ key }) => void seen.push(key), { signal: stop.signal });
    while (!seen.includes('device-a')) await sleep(20);
    stop.abort();
    await next;
  }).timeout(120_000);

  it('that is not there is said to be so', async () => {
    const log = kafkaTopic({ kafka: clientOf(broker().address), topic: 'nowhere' });
    let thrown: unknown;
    await log.partitions().catch((error: unknown) => (thrown = error));
    expect(String(thrown)).to.match(
      /kafka topic nowhere is not available: the topic is not there, or may not be read/,
    );
    await log.close();
    expect(() => kafkaConsumer({ kafka: clientOf(broker().address), groupId: 'g', topics: [] })).to.throw(
      /topics must name one at least/,
    );
  });
});
