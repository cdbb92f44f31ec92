import { delivery, documentProjection, receiver } from '@refold/core';
import { injected, injectedTransport, readModelOf } from '@refold/inversify';
import {
  HandOverStock,
  ReleaseStock,
  ReserveStock,
  StockRefused,
  StockReleased,
  StockReserved,
} from '../contract.js';
import { outgoing, runService } from '../service/service.js';
import { wireTo } from '../service/wires.js';
import type { StockLine } from '../starter/books.js';
import { Shelf, StockDelivered, StockHandedOver } from './shelf.js';
import { StockDesk } from './stock-desk.js';

const stock = documentProjection('stock', {
  initial: (item): StockLine => ({ item, initial: 0, left: 0, reserved: 0, shipped: 0 }),
})
  .on(StockDelivered, (line, { data: { quantity } }) => ({
    ...line,
    initial: line.initial + quantity,
    left: line.left + quantity,
  }))
  .on(StockReserved, (line, { data: { quantity } }) => ({
    ...line,
    left: line.left - quantity,
    reserved: line.reserved + quantity,
  }))
  .on(StockReleased, (line, { data: { quantity } }) => ({
    ...line,
    left: line.left + quantity,
    reserved: line.reserved - quantity,
  }))
  .on(StockHandedOver, (line, { data: { quantity } }) => ({
    ...line,
    reserved: line.reserved - quantity,
    shipped: line.shipped + quantity,
  }));

const answers = delivery('answers', { ...outgoing('orders'), transport: injectedTransport(wireTo('orders')) })
  .on(StockReserved)
  .on(StockRefused)
  .on(StockReleased);

await runService({
  name: 'inventory',
  module: { aggregates: [Shelf], projections: [stock], deliveries: [answers] },
  receiver: receiver('messages')
    .on(ReserveStock, injected(StockDesk, 'reserve'))
    .on(ReleaseStock, injected(StockDesk, 'release'))
    .on(HandOverStock, injected(StockDesk, 'handOver')),
  questions: (container, app) => ({
    deliver: async ({ item, quantity }: { readonly item: string; readonly quantity: number }) => {
      await container.get(StockDesk).deliver(item, quantity);
    },
    books: async () => {
      await app.waitFor(stock, await app.head());
      const all: StockLine[] = [];
      for await (const [, line] of container.get(readModelOf(stock)).entries()) all.push(line);
      return all;
    },
  }),
});
