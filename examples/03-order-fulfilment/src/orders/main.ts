import { delivery, documentProjection, receiver } from '@refold/core';
import { injected, injectedTransport, readModelOf } from '@refold/inversify';
import {
  ChargeCard,
  HandOverStock,
  ParcelRefused,
  ParcelShipped,
  PaymentDeclined,
  PaymentRefunded,
  PaymentTaken,
  RefundPayment,
  ReleaseStock,
  ReserveStock,
  ShipParcel,
  StockRefused,
  StockReleased,
  StockReserved,
  TellCustomer,
} from '../contract.js';
import type { OrderLine } from '../starter/books.js';
import { outgoing, runService } from '../service/service.js';
import { wireTo } from '../service/wires.js';
import { OrderDesk } from './order-desk.js';
import { Order, OrderCancelled, OrderPlaced, OrderShipped, type OrderDetails } from './order.js';

/** How every order ended. */
const lines = documentProjection('order_lines', {
  initial: (): OrderLine => ({ status: 'open', cents: 0, item: '', quantity: 0, reason: '' }),
})
  .on(OrderPlaced, (line, { data: { details } }) => ({
    ...line,
    cents: details.cents,
    item: details.item,
    quantity: details.quantity,
  }))
  .on(OrderShipped, (line) => ({ ...line, status: 'shipped' }))
  .on(OrderCancelled, (line, { data }) => ({ ...line, status: 'cancelled', reason: data.reason }));

const toPayments = delivery('to_payments', {
  ...outgoing('payments'),
  transport: injectedTransport(wireTo('payments')),
})
  .on(ChargeCard)
  .on(RefundPayment);
const toInventory = delivery('to_inventory', {
  ...outgoing('inventory'),
  transport: injectedTransport(wireTo('inventory')),
})
  .on(ReserveStock)
  .on(ReleaseStock)
  .on(HandOverStock);
const toShipping = delivery('to_shipping', {
  ...outgoing('shipping'),
  transport: injectedTransport(wireTo('shipping')),
}).on(ShipParcel);
const toNotifications = delivery('to_notifications', {
  ...outgoing('notifications'),
  transport: injectedTransport(wireTo('notifications')),
}).on(TellCustomer);

const messages = receiver('messages')
  .on(PaymentTaken, injected(OrderDesk, 'paymentTaken'))
  .on(PaymentDeclined, injected(OrderDesk, 'paymentDeclined'))
  .on(PaymentRefunded, injected(OrderDesk, 'paymentRefunded'))
  .on(StockReserved, injected(OrderDesk, 'stockReserved'))
  .on(StockRefused, injected(OrderDesk, 'stockRefused'))
  .on(StockReleased, injected(OrderDesk, 'stockReleased'))
  .on(ParcelShipped, injected(OrderDesk, 'parcelShipped'))
  .on(ParcelRefused, injected(OrderDesk, 'parcelRefused'));

await runService({
  name: 'orders',
  module: {
    aggregates: [Order],
    projections: [lines],
    deliveries: [toPayments, toInventory, toShipping, toNotifications],
  },
  receiver: messages,
  questions: (container, app) => ({
    place: async ({ id, details }: { readonly id: string; readonly details: OrderDetails }) => {
      await container.get(OrderDesk).place(id, details);
    },
    books: async () => {
      await app.waitFor(lines, await app.head());
      const all: OrderLine[] = [];
      for await (const [, line] of container.get(readModelOf(lines)).entries()) all.push(line);
      return all;
    },
    payAgain: async () => {
      await app.processor(toPayments).reset();
      await app.waitFor(toPayments, await app.head());
    },
    retryDeadLetters: async () => app.processor(toShipping).deadLetters.retry(),
  }),
});
