import { createApplication, delivery, type MessageDelivery, type Transport } from '@refold/core';
import { sqliteStore, type SqliteStore } from '@refold/sqlite';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accountAt, Deposited, eventAt, Withdrawn } from '../accounts.js';

/** A log on SQLite whose events are sent, round after round. */
export class SentLog implements AsyncDisposable {
  readonly length: number;
  readonly #store: SqliteStore;
  readonly #folder: string;
  #rounds = 0;

  private constructor(store: SqliteStore, folder: string, length: number) {
    this.#store = store;
    this.#folder = folder;
    this.length = length;
  }

  static async of(length: number): Promise<SentLog> {
    const folder = await mkdtemp(join(tmpdir(), 'refold-bench-delivery-'));
    const store = await sqliteStore(join(folder, 'log.db'), { durability: 'normal' });
    const app = createApplication({ store, events: [Deposited, Withdrawn] });
    await app.import('all', function* (after) {
      for (let index = after; index < length; index++) {
        yield { stream: `account-${accountAt(index, length)}`, event: eventAt(index) };
      }
    });
    return new SentLog(store, folder, length);
  }

  /** Sends all of it by a new delivery, whose checkpoint is written after every batch. */
  async send(transport: Transport, topic: string, batchSize: number): Promise<void> {
    this.#rounds += 1;
    const sent: MessageDelivery = delivery(`sent_${this.#rounds}`, { transport, topic })
      .on(Deposited)
      .on(Withdrawn);
    const app = createApplication({ store: this.#store, deliveries: [sent] });
    await app.catchUp({ batchSize });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A message as a bare client sends it, with what a receiver needs to know of it: as many headers as a delivery gives it. */
export interface BareMessage {
  readonly id: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** The same events as messages that are made by hand, in batches. */
export function* bareMessages(length: number, batchSize: number, prefix: string): Generator<BareMessage[]> {
  for (let from = 0; from < length; from += batchSize) {
    const count = Math.min(batchSize, length - from);
    yield Array.from({ length: count }, (_, place) => bareMessage(from + place, length, prefix));
  }
}

function bareMessage(index: number, length: number, prefix: string): BareMessage {
  const event = eventAt(index);
  const id = randomUUID();
  const key = `account-${accountAt(index, length)}`;
  const headers = {
    [`${prefix}specversion`]: '1.0',
    [`${prefix}id`]: id,
    [`${prefix}source`]: '/sent_1',
    [`${prefix}type`]: event instanceof Deposited ? 'Deposited' : 'Withdrawn',
    [`${prefix}subject`]: key,
    [`${prefix}time`]: new Date().toISOString(),
    [`${prefix}partitionkey`]: key,
    [`${prefix}streamrevision`]: '0',
    [`${prefix}sequence`]: String(index).padStart(16, '0'),
  };
  return { id, key, headers, body: Buffer.from(JSON.stringify(event)) };
}
