// Delivers the log of a run until it is killed.
import { createApplication, delivery, silentLogger } from '@refold/core';
import { sqliteStore } from '@refold/sqlite';
import { BATCH_SIZE, Counted, DELIVERY, LEASE_MS, PARTITIONS, type Task } from './counted.js';
import { brokerNamed } from './brokers.js';

const task = JSON.parse(process.argv[2] ?? '') as Task;
const broker = brokerNamed(task.broker);
const counts = delivery(DELIVERY, {
  transport: broker.transport(task),
  guarantee: broker.guarantee,
  partitions: PARTITIONS,
  topic: task.topic,
  onError: 'stop',
}).on(Counted);
const app = createApplication({
  store: await sqliteStore(task.log, { durability: 'normal' }),
  deliveries: [counts],
  logger: silentLogger,
});
await app.worker({ leaseMs: LEASE_MS, batchSize: BATCH_SIZE }).run();
