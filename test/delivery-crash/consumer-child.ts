// Receives what a run delivers until it is killed: notes every arrival, and has the effect of each message by an inbox.
import { appendFileSync } from 'node:fs';
import { createApplication, createInbox, silentLogger, type ReceivedMessage } from '@refold/core';
import { sqliteStore } from '@refold/sqlite';
import { brokerNamed } from './brokers.js';
import { Received, type Task } from './counted.js';

const task = JSON.parse(process.argv[2] ?? '') as Task;
const store = await sqliteStore(task.received, { durability: 'normal' });
const app = createApplication({ store, events: [Received], logger: silentLogger });
const inbox = createInbox(store, 'counts', { dedupeBy: 'sequence' });

async function receive(message: ReceivedMessage): Promise<void> {
  const { n } = message.payload as { readonly n: number };
  appendFileSync(task.journal, `${message.id} ${message.key} ${n}\n`);
  await inbox.once(message, async (transaction) => {
    await app.append(`received-${message.key}`, [Received(n)], { transaction });
  });
}

await brokerNamed(task.broker).consume(task, receive, new AbortController().signal);
