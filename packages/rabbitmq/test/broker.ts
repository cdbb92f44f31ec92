import type { Service } from '@refold/test/services/service';
import { useService } from '@refold/test/services/in-tests';
import { ownRabbitmqService, rabbitmqService, type OwnRabbitmq } from '@refold/test/services/rabbitmq';
import { connect, type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import { randomUUID } from 'node:crypto';

/** The broker that all tests share. To be called inside `describe`. */
export function useRabbitmq(): () => Service {
  return useService('RabbitMQ', rabbitmqService);
}

/** A broker that tests may kill and torment; afterwards they leave it as they found it. To be called inside `describe`. */
export function useOwnRabbitmq(): () => OwnRabbitmq {
  return useService('a RabbitMQ that can be killed', ownRabbitmqService);
}

/** A name that nobody else uses on the broker. */
export function freshName(what: string): string {
  return `${what}-${randomUUID().slice(0, 8)}`;
}

/** Looks at the broker by itself, past whatever is tested. */
export class Observer {
  readonly #model: ChannelModel;
  readonly channel: Channel;
  readonly #queues = new Set<string>();

  private constructor(model: ChannelModel, channel: Channel) {
    this.#model = model;
    this.channel = channel;
  }

  static async at(address: string): Promise<Observer> {
    const model = await connect(address);
    model.on('error', () => {});
    const channel = await model.createChannel();
    channel.on('error', () => {});
    return new Observer(model, channel);
  }

  /** Declares a queue, which is deleted at the end. */
  async queue(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<string> {
    await this.channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': 'quorum', ...args } });
    this.#queues.add(name);
    return name;
  }

  /** Takes whatever comes to a queue out of it, into a list that grows. */
  async take(queue: string): Promise<ConsumeMessage[]> {
    const taken: ConsumeMessage[] = [];
    await this.channel.consume(queue, (message) => {
      if (!message) return;
      taken.push(message);
      this.channel.ack(message);
    });
    return taken;
  }

  /** Has something that others have made deleted at the end. */
  forget(queue: string): void {
    this.#queues.add(queue);
  }

  async close(): Promise<void> {
    for (const queue of this.#queues) await this.channel.deleteQueue(queue).catch(() => undefined);
    await this.#model.close();
  }
}
