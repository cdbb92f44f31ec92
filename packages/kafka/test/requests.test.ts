import { MessageRejectedError, TransportUnavailableError, type Message } from '@refold/core';
import { kafkaTransport, partitionOf, type KafkaClient } from '@refold/kafka';
import { expect } from 'chai';
import { messageTo } from './messages.js';
import { adminOf } from './scripted-admin.js';

type Request = readonly string[];

/** What a broker makes of a request: the places that its answer speaks of, by default all; or it throws. */
type Script = (request: Request) => readonly string[] | undefined | Promise<undefined>;

const PARTITIONS = 4;

/** A client that notes every request for records, as `topic/partition: key n, key n`. */
class ScriptedClient implements KafkaClient {
  /** That is what kafkajs is known by. */
  readonly logger = (): void => {};
  readonly requests: string[] = [];
  producers = 0;
  script: Script = () => undefined;

  producer(): ReturnType<KafkaClient['producer']> {
    this.producers += 1;
    return {
      connect: () => Promise.resolve(),
      disconnect: () => Promise.resolve(),
      transaction: () => Promise.reject(new Error('not here')),
      sendBatch: async ({ topicMessages }) => {
        const places = new Map<string, string[]>();
        for (const { topic, messages } of topicMessages) {
          for (const { partition = 0, value } of messages) {
            const place = `${topic}/${partition}`;
            places.set(place, [...(places.get(place) ?? []), JSON.parse(String(value)) as string]);
          }
        }
        const request = [...places].map(([place, texts]) => `${place}: ${texts.join(', ')}`).sort();
        this.requests.push(request.join('; '));
        const stored = (await this.script([...places.keys()])) ?? [...places.keys()];
        return stored.map((place) => {
          const [topicName, partition] = place.split('/');
          return { topicName, partition: Number(partition), errorCode: 0 };
        });
      },
    };
  }

  consumer(): ReturnType<KafkaClient['consumer']> {
    throw new Error('not here');
  }

  admin(): ReturnType<KafkaClient['admin']> {
    return adminOf(PARTITIONS);
  }
}

/** A key of each partition. */
const keys = Array.from({ length: PARTITIONS }, (_, partition) => {
  let n = 0;
  while (partitionOf(`key${n}`, PARTITIONS) !== partition) n += 1;
  return `key${n}`;
});

function to(partition: number, n: number, topic = 'out'): Message {
  return messageTo(topic, keys[partition] ?? '', n);
}

function text(partition: number, n: number): string {
  return `${keys[partition]} ${n}`;
}

describe('requests of a transport to Kafka', () => {
  const never = new AbortController().signal;

  it('are one for all partitions, and for all who send at once; one is under way at a time', async () => {
    const client = new ScriptedClient();
    let goOn = (): void => {};
    client.script = () => new Promise((resolve) => (goOn = () => resolve(undefined)));
    const transport = kafkaTransport({ kafka: client });
    const first = transport.send([to(0, 1), to(1, 1), to(0, 2)], never);
    while (client.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const others = [transport.send([to(0, 3), to(2, 3)], never), transport.send([to(0, 4), to(3, 4)], never)];
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(client.requests).to.deep.equal([`out/0: ${text(0, 1)}, ${text(0, 2)}; out/1: ${text(1, 1)}`]);
    client.script = () => undefined;
    goOn();
    for (const { failures } of await Promise.all([first, ...others])) expect(failures).to.deep.equal([]);
    expect(client.requests.slice(1)).to.deep.equal([
      `out/0: ${text(0, 3)}; out/2: ${text(2, 3)}; out/3: ${text(3, 4)}`,
      // What one broker refuses is known of each as long as nobody else's records are with it.
      `out/0: ${text(0, 4)}`,
    ]);
    await transport.close();
  });

  it('are made again partition by partition where one is refused, and then one by one there', async () => {
    const client = new ScriptedClient();
    client.script = (request) => {
      const tooLarge = request.includes('out/1') && client.requests.at(-1)?.includes(text(1, 2));
      if (tooLarge) throw Object.assign(new Error('too large'), { type: 'MESSAGE_TOO_LARGE' });
      return undefined;
    };
    const transport = kafkaTransport({ kafka: client });
    const batch = [to(0, 1), to(1, 1), to(0, 2), to(1, 2), to(1, 3), to(2, 3)];
    const { failures } = await transport.send(batch, never);
    expect(failures.map(({ index }) => index)).to.deep.equal([3, 4]);
    expect(failures[0]?.error).to.be.instanceOf(MessageRejectedError);
    expect(failures[1]?.error, 'behind it').to.equal(undefined);
    const [zero, one] = [
      `out/0: ${text(0, 1)}, ${text(0, 2)}`,
      `out/1: ${text(1, 1)}, ${text(1, 2)}, ${text(1, 3)}`,
    ];
    expect(client.requests).to.deep.equal([
      `${zero}; ${one}; out/2: ${text(2, 3)}`,
      zero,
      one,
      `out/2: ${text(2, 3)}`,
      `out/1: ${text(1, 1)}`,
      `out/1: ${text(1, 2)}`,
    ]);
    expect(client.producers, 'its numbers are what the broker has').to.equal(1);
    await transport.close();
  });

  it('are made again for a partition that the answer does not speak of', async () => {
    const client = new ScriptedClient();
    client.script = (request) =>
      client.requests.length === 1 ? request.filter((one) => one !== 'out/1') : undefined;
    const transport = kafkaTransport({ kafka: client });
    const { failures } = await transport.send([to(0, 1), to(1, 1)], never);
    expect(failures).to.deep.equal([]);
    expect(client.requests).to.deep.equal([
      `out/0: ${text(0, 1)}; out/1: ${text(1, 1)}`,
      `out/1: ${text(1, 1)}`,
    ]);
    client.script = () => [];
    const again = await transport.send([to(2, 1)], never);
    expect(again.failures[0]?.error).to.be.instanceOf(TransportUnavailableError);
    await transport.close();
  });

  it('go by another producer when nobody knows what became of one', async () => {
    const client = new ScriptedClient();
    client.script = () => {
      throw new Error('connection lost');
    };
    const transport = kafkaTransport({ kafka: client });
    const { failures } = await transport.send([to(0, 1), to(1, 1)], never);
    expect(failures.map(({ error }) => error instanceof TransportUnavailableError)).to.deep.equal([
      true,
      true,
    ]);
    client.script = () => undefined;
    expect((await transport.send([to(0, 1), to(1, 1)], never)).failures).to.deep.equal([]);
    expect(client.producers).to.equal(2);
    expect(client.requests).to.have.lengthOf(2);
    await transport.close();
  });

  it('are not begun for those who were told to stop while others were under way', async () => {
    const client = new ScriptedClient();
    let goOn = (): void => {};
    client.script = () => new Promise((resolve) => (goOn = () => resolve(undefined)));
    const transport = kafkaTransport({ kafka: client });
    const first = transport.send([to(0, 1)], never);
    while (client.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const stop = new AbortController();
    const second = transport.send([to(0, 2)], stop.signal);
    await new Promise((resolve) => setTimeout(resolve, 20));
    stop.abort();
    goOn();
    expect((await first).failures).to.deep.equal([]);
    expect((await second).failures[0]?.error).to.be.instanceOf(TransportUnavailableError);
    expect(client.requests).to.deep.equal([`out/0: ${text(0, 1)}`]);
    await transport.close();
  });
});
