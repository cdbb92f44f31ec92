import { rabbitmqTransport } from '@refold/rabbitmq';
import { connect, type ConfirmChannel } from 'amqplib';
import { rabbitmqService } from '../../services/rabbitmq.js';
import type { Bench } from '../harness.js';
import { bareMessages, type SentLog } from './sending.js';

/** Messages into a quorum queue, confirmed by the broker: from the log against a bare client that has them in memory. */
export async function compareRabbitmq(bench: Bench, log: SentLog): Promise<void> {
  const service = await rabbitmqService();
  if ('missing' in service) return bench.note(`skipped: RabbitMQ: ${service.missing}`);
  const connection = await connect(service.address);
  const channel = await connection.createConfirmChannel();
  const queues = { ours: `bench-ours-${process.pid}`, raw: `bench-raw-${process.pid}` };
  for (const queue of Object.values(queues)) {
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  }
  const transport = rabbitmqTransport({ url: service.address });
  for (const batchSize of [100, 1000]) {
    await bench.compare<number, number>({
      name: `RabbitMQ, quorum queue with confirms, batches of ${batchSize}, raw being amqplib`,
      unit: 'messages',
      rounds: bench.quick ? 2 : 5,
      bar: { ratio: 0.8 },
      cases: [
        {
          length: log.length,
          n: log.length,
          ours: async () => {
            await log.send(transport, queues.ours, batchSize);
            return taken(channel, queues.ours);
          },
          raw: async () => {
            await publish(channel, queues.raw, log.length, batchSize);
            return taken(channel, queues.raw);
          },
          correct: (ours, raw) => ours === log.length && raw === log.length,
        },
      ],
    });
  }
  await transport.close();
  for (const queue of Object.values(queues)) await channel.deleteQueue(queue);
  await connection.close();
}

async function publish(
  channel: ConfirmChannel,
  queue: string,
  length: number,
  batchSize: number,
): Promise<void> {
  for (const batch of bareMessages(length, batchSize, 'cloudEvents:')) {
    for (const { id, headers, body } of batch) {
      channel.publish('', queue, body, {
        persistent: true,
        mandatory: true,
        contentType: 'application/json',
        messageId: id,
        headers,
      });
    }
    await channel.waitForConfirms();
  }
}

/** How many messages a queue has; it has none afterwards. */
async function taken(channel: ConfirmChannel, queue: string): Promise<number> {
  const { messageCount } = await channel.purgeQueue(queue);
  return messageCount;
}
