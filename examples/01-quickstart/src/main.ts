import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aggregate, aggregate, applies, createApplication, documentProjection, event } from '@refold/core';
import { sqliteStore } from '@refold/sqlite';

@event('StockReceived')
class StockReceived {
  constructor(readonly quantity: number) {}
}

@event('StockShipped')
class StockShipped {
  constructor(readonly quantity: number) {}
}

@aggregate('item')
class Item extends Aggregate {
  #onHand = 0;

  receive(quantity: number): void {
    this.record(new StockReceived(quantity));
  }

  ship(quantity: number): void {
    if (quantity > this.#onHand) throw new Error(`Cannot ship ${quantity}: ${this.#onHand} on hand`);
    this.record(new StockShipped(quantity));
  }

  @applies(StockReceived) protected received({ quantity }: StockReceived): void {
    this.#onHand += quantity;
  }

  @applies(StockShipped) protected shipped({ quantity }: StockShipped): void {
    this.#onHand -= quantity;
  }
}

const stock = documentProjection('stock', { initial: () => ({ received: 0, shipped: 0 }) })
  .on(StockReceived, (item, { data }) => ({ ...item, received: item.received + data.quantity }))
  .on(StockShipped, (item, { data }) => ({ ...item, shipped: item.shipped + data.quantity }));

const file = process.argv[2] ?? join(tmpdir(), `refold-quickstart-${Date.now()}.db`);
const app = createApplication({ store: await sqliteStore(file), aggregates: [Item], projections: [stock] });
const stop = new AbortController();
const running = app.worker().run({ signal: stop.signal });

const items = app.repository(Item);
await items.upsert('teapot', (item) => item.receive(10));
await items.update('teapot', (item) => item.ship(3));
await items.update('teapot', (item) => item.ship(100)).catch((error: Error) => console.log(error.message));

await app.waitFor(stock, await app.head());
console.log('read model:', await app.readModel(stock).get('teapot'));
await app.rebuild(stock);
console.log('rebuilt:   ', await app.readModel(stock).get('teapot'));

stop.abort();
await running;
await app.close();
