import type { ReceivedEvent, ReceiverContext, Repository, StateUnit } from '@refold/core';
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

  paymentTaken({ data: { order } }: ReceivedEvent<PaymentTaken>, { unit }: ReceiverContext): Promise<void> {
    return this.#update(
      order,
      unit,
      (it) => it.pay(),
      ({ id, details }) => [new ReserveStock(id, details.item, details.quantity)],
    );
  }

  paymentDeclined(
    { data: { order, reason } }: ReceivedEvent<PaymentDeclined>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    return this.#update(order, unit, (it) => it.decline(reason), farewell);
  }

  stockReserved({ data: { order } }: ReceivedEvent<StockReserved>, { unit }: ReceiverContext): Promise<void> {
    return this.#update(
      order,
      unit,
      (it) => it.stock(),
      ({ id, details }) => [new ShipParcel(id, details.address)],
    );
  }

  stockRefused(
    { data: { order, reason } }: ReceivedEvent<StockRefused>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    return this.#update(order, unit, (it) => it.fail(reason), compensation);
  }

  parcelShipped({ data: { order } }: ReceivedEvent<ParcelShipped>, { unit }: ReceiverContext): Promise<void> {
    return this.#update(
      order,
      unit,
      (it) => it.ship(),
      (it) => [new HandOverStock(it.id, it.details.item), ...farewell(it)],
    );
  }

  parcelRefused(
    { data: { order, reason } }: ReceivedEvent<ParcelRefused>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    return this.#update(order, unit, (it) => it.fail(reason), compensation);
  }

  paymentRefunded(
    { data: { order } }: ReceivedEvent<PaymentRefunded>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    return this.#update(order, unit, (it) => it.refund(), farewell);
  }

  stockReleased({ data: { order } }: ReceivedEvent<StockReleased>, { unit }: ReceiverContext): Promise<void> {
    return this.#update(order, unit, (it) => it.restock(), farewell);
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
