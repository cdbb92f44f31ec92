import { silentLogger } from '@refold/core';
import { rabbitmqConsumer, rabbitmqTransport } from '@refold/rabbitmq';
import { connect } from 'amqplib';
import { ownRabbitmqService } from '../services/rabbitmq.js';
import type { BrokerTarget } from './broker.js';

/** The next consumer gets nothing before the broker has noticed that the last one is dead. */
const ORDERED = { 'x-queue-type': 'quorum', 'x-single-active-consumer': true };

/** A quorum queue, with confirms, and a consumer that acknowledges what it has handled. */
export const rabbitmqTarget: BrokerTarget = {
  name: 'rabbitmq',
  guarantee: 'atLeastOnce',
  service: ownRabbitmqService,
  prepare: async ({ address, topic }) => {
    // By one alone: two that declare a quorum queue at the same moment leave RabbitMQ 3.10 with two of them on its disk, and
    // without any when it starts again.
    const connection = await connect(address);
    const channel = await connection.createChannel();
    await channel.assertQueue(topic, { durable: true, arguments: ORDERED });
    await connection.close();
  },
  transport: ({ address }) => rabbitmqTransport({ url: address }),
  consume: ({ address, topic }, handler, signal) =>
    rabbitmqConsumer({ url: address, queue: topic, logger: silentLogger }).run(handler, { signal }),
};
