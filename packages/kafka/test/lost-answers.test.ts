import { createTopics } from '@refold/test/services/kafka-topics';
import type { Message } from '@refold/core';
import { kafkaTransport } from '@refold/kafka';
import { useService } from '@refold/test/services/in-tests';
import { ownKafkaService } from '@refold/test/services/kafka';
import { expect } from 'chai';
import { Kafka, logLevel } from 'kafkajs';
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { follow, kafkaJsOf } from './fixture.js';
import { messageTo } from './messages.js';

/** What a request to store records begins with, behind its length: its number in Kafka's protocol. */
const PRODUCE = 0;

/** Connections that can be told to end when the next records have been stored, before the client hears of it. */
class LosingAnswers {
  #armed = false;
  #onRequest = (): void => {};

  /** The next request to store records loses its answer; resolves when it is under way. */
  async arm(): Promise<void> {
    this.#armed = true;
    await new Promise<void>((resolve) => (this.#onRequest = resolve));
  }

  readonly socketFactory = ({ host, port, onConnect }: Address): Socket => {
    const socket = connect({ host, port }, onConnect);
    let loses = false;
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
    const emit = socket.emit.bind(socket) as (...args: unknown[]) => boolean;
    Object.assign(socket, {
      write: (data: Buffer | string, ...rest: unknown[]) => {
        if (this.#armed && isProduce(data)) {
          this.#armed = false;
          loses = true;
          this.#onRequest();
        }
        return write(data, ...rest);
      },
      emit: (event: string, ...args: unknown[]) => {
        if (!loses || event !== 'data') return emit(event, ...args);
        socket.destroy(new Error('read ECONNRESET'));
        return true;
      },
    });
    return socket;
  };
}

interface Address {
  readonly host: string;
  readonly port: number;
  readonly onConnect: () => void;
}

function isProduce(data: Buffer | string): boolean {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
  return bytes.length > 6 && bytes.readInt16BE(4) === PRODUCE;
}

describe('a transport to Kafka that loses an answer', () => {
  const broker = useService('Kafka', ownKafkaService);

  it('has neither lost nor repeated what others have sent to the partition meanwhile', async () => {
    const topic = `lost-${randomUUID().slice(0, 8)}`;
    await createTopics(kafkaJsOf(broker().address), [topic], { partitions: 1 });
    const losing = new LosingAnswers();
    const kafka = new Kafka({
      brokers: broker().address.split(','),
      logLevel: logLevel.NOTHING,
      socketFactory: losing.socketFactory,
    });
    const transport = kafkaTransport({ kafka });
    const send = async (...batch: Message[]): Promise<void> => {
      const { failures } = await transport.send(batch, new AbortController().signal);
      expect(failures).to.deep.equal([]);
    };
    await send(messageTo(topic, 'a', 0));
    for (let round = 1; round <= 5; round++) {
      const lost = losing.arm();
      const first = send(messageTo(topic, 'a', round));
      await lost;
      await Promise.all([first, send(messageTo(topic, 'b', round)), send(messageTo(topic, 'c', round))]);
    }
    await send(messageTo(topic, 'end', 0));
    await transport.close();

    const following = await follow(kafkaJsOf(broker().address), [topic]);
    const has = (): string[] => following.records(topic).map(({ record }) => String(record.value));
    while (!has().includes('"end 0"')) await new Promise((resolve) => setTimeout(resolve, 20));
    await following.close();
    const all = [
      'a 0',
      'end 0',
      ...[1, 2, 3, 4, 5].flatMap((round) => ['a', 'b', 'c'].map((key) => `${key} ${round}`)),
    ];
    expect(has().sort()).to.deep.equal(all.map((text) => JSON.stringify(text)).sort());
  }).timeout(60_000);
});
