import type { Repository, StateUnit } from '@refold/core';
import { repositoryOf } from '@refold/inversify';
import { inject, injectable } from 'inversify';
import {
  ChargeCard,
  HandOverStock,
  RefundPayment,
  ReleaseStock,
  ReserveStock,
  ShipParcel,
  TellCustomer,
  type ParcelRefused,
  type ParcelShipped,
  type PaymentDeclined,
  type PaymentRefunded,
  type PaymentTaken,
  type StockRefused,
  type StockReleased,
  type StockReserved,
} from '../contract.js';
import { Order, type OrderDetails } from './order.js';

/**
 * Takes orders, and what the other services answer. Each answer changes the order and asks for the next step in one
 * transaction, which also remembers that the answer was received: so each step is taken exactly once.
 */
@injectable()
export class OrderDesk {
  constructor(@inject(repositoryOf(Order)) private readonly orders: Repository<Order>) {}

  async place(id: string, details: OrderDetails): Promise<void> {
    await this.orders.create(id, (order) => order.place(details), {
      messages: [new ChargeCard(id, details.card, details.cents)],
    });
  }

  paymentTaken({ order }: PaymentTaken, transaction: StateUnit): Promise<void> {
    return this.#update(
      order,
      transaction,
      (it) => it.pay(),
      ({ id, details }) => [new ReserveStock(id, details.item, details.quantity)],
    );
  }

  paymentDeclined({ order, reason }: PaymentDeclined, transaction: StateUnit): Promise<void> {
    return this.#update(order, transaction, (it) => it.decline(reason), farewell);
  }

  stockReserved({ order }: StockReserved, transaction: StateUnit): Promise<void> {
    return this.#update(
      order,
      transaction,
      (it) => it.stock(),
      ({ id, details }) => [new ShipParcel(id, details.address)],
    );
  }

  stockRefused({ order, reason }: StockRefused, transaction: StateUnit): Promise<void> {
    return this.#update(order, transaction, (it) => it.fail(reason), compensation);
  }

  parcelShipped({ order }: ParcelShipped, transaction: StateUnit): Promise<void> {
    return this.#update(
      order,
      transaction,
      (it) => it.ship(),
      (it) => [new HandOverStock(it.id, it.details.item), ...farewell(it)],
    );
  }

  parcelRefused({ order, reason }: ParcelRefused, transaction: StateUnit): Promise<void> {
    return this.#update(order, transaction, (it) => it.fail(reason), compensation);
  }

  paymentRefunded({ order }: PaymentRefunded, transaction: StateUnit): Promise<void> {
    return this.#update(order, transaction, (it) => it.refund(), farewell);
  }

  stockReleased({ order }: StockReleased, transaction: StateUnit): Promise<void> {
    return this.#update(order, transaction, (it) => it.restock(), farewell);
  }

  async #update(
    id: string,
    transaction: StateUnit,
    step: (order: Order) => void,
    messages: (order: Order) => readonly object[],
  ): Promise<void> {
    await this.orders.update(id, step, { transaction, messages });
  }
}

/** What undoes the steps that were taken. */
function compensation({ id, details, owesMoney, owesStock }: Order): object[] {
  return [
    ...(owesMoney ? [new RefundPayment(id)] : []),
    ...(owesStock ? [new ReleaseStock(id, details.item)] : []),
  ];
}

/** Tells the customer, once it has ended. */
function farewell({ id, status, details, reason }: Order): object[] {
  if (status === 'shipped') return [new TellCustomer(id, details.customer, 'Your order is on its way')];
  if (status === 'cancelled') return [new TellCustomer(id, details.customer, `We cancelled: ${reason}`)];
  return [];
}
