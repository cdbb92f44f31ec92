import { MessageRejectedError, TransportUnavailableError, type Message } from '@refold/core';
import { kafkaTransport, type KafkaClient, type KafkaProducer, type KafkaRecord } from '@refold/kafka';
import { expect } from 'chai';
import { messageTo } from './messages.js';
import { adminOf } from './scripted-admin.js';

interface RecordsSent {
  readonly topic: string;
  readonly messages: KafkaRecord[];
}

/** A client that answers record by record and spoils what it is given, as `@confluentinc/kafka-javascript` does. */
class RecordClient implements KafkaClient {
  readonly configs: Record<string, unknown>[] = [];
  /** What it was given, in order. */
  readonly sent: string[] = [];
  /** Says why a record fails; all of them wait until they are told to go. */
  failure: (value: string, times: number) => string | undefined = () => undefined;
  flushes = 0;
  #go = (): void => {};
  #flushed = new Promise<void>((resolve) => (this.#go = resolve));

  producer(config: object): KafkaProducer {
    this.configs.push(config as Record<string, unknown>);
    const producer = {
      connect: () => Promise.resolve(),
      disconnect: () => Promise.resolve(),
      sendBatch: () => Promise.reject(new Error('one failing record takes its neighbours with it')),
      transaction: () => Promise.reject(new Error('not here')),
      flush: () => this.#flush(),
      send: (records: RecordsSent) => this.#send(records),
    };
    return producer;
  }

  consumer(): ReturnType<KafkaClient['consumer']> {
    throw new Error('not here');
  }

  admin(): ReturnType<KafkaClient['admin']> {
    return adminOf(1);
  }

  async #send({ messages }: RecordsSent): Promise<void> {
    expect(messages).to.have.lengthOf(1);
    for (const record of messages) {
      const value = String(record.value);
      expect(Object.keys(record.headers), value).to.include('ce_id');
      this.sent.push(value);
      const times = this.sent.filter((one) => one === value).length;
      Object.assign(record, { headers: [] });
      await this.#flushed;
      const type = this.failure(value, times);
      if (type !== undefined) throw Object.assign(new Error(type), { type });
    }
  }

  #flush(): Promise<void> {
    this.flushes += 1;
    this.#go();
    this.#flushed = new Promise((resolve) => (this.#go = resolve));
    return Promise.resolve();
  }
}

const never = new AbortController().signal;
const keys = ['a', 'b', 'c', 'd'];
const batchOf = (): Message[] => keys.map((key) => messageTo('out', key, 1));
const valueOf = (key: string): string => JSON.stringify(`${key} 1`);

describe('a transport to Kafka by a client that answers record by record', () => {
  it('sends the records of a batch together, and tells them to go at once', async () => {
    const client = new RecordClient();
    const transport = kafkaTransport({ kafka: client });
    expect(await transport.send(batchOf(), never)).to.deep.equal({ failures: [] });
    expect(client.sent).to.deep.equal(keys.map(valueOf));
    expect(client.flushes).to.equal(1);
    expect(client.configs).to.have.lengthOf(1);
    expect(client.configs[0]).to.have.nested.property('kafkaJS.idempotent', true);
    expect(client.configs[0]).to.have.nested.property('kafkaJS.acks', -1);
    await transport.close();
  });

  it('repeats no neighbour of a record that is refused', async () => {
    const client = new RecordClient();
    client.failure = (value) => (value === valueOf('b') ? 'ERR_MSG_SIZE_TOO_LARGE' : undefined);
    const transport = kafkaTransport({ kafka: client });
    const { failures } = await transport.send(batchOf(), never);
    expect(failures.map(({ index }) => index)).to.deep.equal([1]);
    expect(failures[0]?.error).to.be.instanceOf(MessageRejectedError);
    expect(client.sent).to.deep.equal(keys.map(valueOf));
    await transport.close();
  });

  it('sends records singly, as they were, that were refused together', async () => {
    const client = new RecordClient();
    client.failure = (value, times) =>
      times === 1 || value === valueOf('c') ? 'ERR_MSG_SIZE_TOO_LARGE' : undefined;
    const transport = kafkaTransport({ kafka: client });
    const { failures } = await transport.send(batchOf(), never);
    expect(failures.map(({ index }) => index)).to.deep.equal([2]);
    expect(client.sent).to.deep.equal([...keys, ...keys].map(valueOf));
    await transport.close();
  });

  it('knows what was stored when the connection broke behind it, and goes on by another producer', async () => {
    const client = new RecordClient();
    client.failure = (value) => (value > valueOf('b') ? 'ERR__MSG_TIMED_OUT' : undefined);
    const transport = kafkaTransport({ kafka: client });
    const batch = batchOf();
    const { failures } = await transport.send(batch, never);
    expect(failures.map(({ index }) => index)).to.deep.equal([2, 3]);
    for (const { error } of failures) expect(error).to.be.instanceOf(TransportUnavailableError);
    client.failure = () => undefined;
    expect((await transport.send(batch.slice(2), never)).failures).to.deep.equal([]);
    expect(client.sent).to.deep.equal(['a', 'b', 'c', 'd', 'c', 'd'].map(valueOf));
    expect(client.configs).to.have.lengthOf(2);
    await transport.close();
  });

  it('does not send behind later messages of a key what was refused in front of them', async () => {
    const client = new RecordClient();
    const batch = [1, 2, 3].map((n) => messageTo('out', 'a', n));
    const third = JSON.stringify('a 3');
    client.failure = (value) => (value < third ? 'ERR_MSG_SIZE_TOO_LARGE' : undefined);
    const transport = kafkaTransport({ kafka: client });
    const { failures } = await transport.send(batch, never);
    expect(failures.map(({ index }) => index)).to.deep.equal([0, 1]);
    expect(failures[0]?.error).to.be.instanceOf(TransportUnavailableError);
    expect(client.sent).to.have.lengthOf(3);
    await transport.close();
  });
});
