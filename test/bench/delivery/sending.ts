import { createApplication, delivery, type MessageDelivery, type Transport } from '@refold/core';
import { sqliteStore, type SqliteStore } from '@refold/sqlite';
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

/** The same events as bodies, as bare clients send them; in batches. */
export function* bodiesOf(length: number, batchSize: number): Generator<{ key: string; body: Buffer }[]> {
  for (let from = 0; from < length; from += batchSize) {
    const count = Math.min(batchSize, length - from);
    yield Array.from({ length: count }, (_, place) => ({
      key: `account-${accountAt(from + place, length)}`,
      body: Buffer.from(JSON.stringify(eventAt(from + place))),
    }));
  }
}
