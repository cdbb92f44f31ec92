import { Aggregate, aggregate, applies, event } from '@refold/core';
import { StockRefused, StockReleased, StockReserved } from '../contract.js';

@event('StockDelivered')
export class StockDelivered {
  constructor(readonly quantity: number) {}
}

@event('StockHandedOver')
export class StockHandedOver {
  constructor(
    readonly order: string,
    readonly quantity: number,
  ) {}
}

/** What there is of one item: left, or kept for orders. */
@aggregate('shelf', { events: [StockRefused] })
export class Shelf extends Aggregate {
  left = 0;
  readonly kept: Record<string, number> = {};

  deliver(quantity: number): void {
    this.record(new StockDelivered(quantity));
  }

  reserve(order: string, quantity: number): void {
    if (quantity > this.left) this.record(new StockRefused(order, `${this.id} is sold out`));
    else this.record(new StockReserved(order, quantity));
  }

  release(order: string): void {
    this.record(new StockReleased(order, this.#keptFor(order)));
  }

  handOver(order: string): void {
    this.record(new StockHandedOver(order, this.#keptFor(order)));
  }

  #keptFor(order: string): number {
    const quantity = this.kept[order];
    if (quantity === undefined) throw new Error(`No ${this.id} is kept for order ${order}`);
    return quantity;
  }

  @applies(StockDelivered)
  protected delivered({ quantity }: StockDelivered): void {
    this.left += quantity;
  }

  @applies(StockReserved)
  protected reserved({ order, quantity }: StockReserved): void {
    this.left -= quantity;
    this.kept[order] = quantity;
  }

  @applies(StockReleased)
  protected released({ order, quantity }: StockReleased): void {
    this.left += quantity;
    delete this.kept[order];
  }

  @applies(StockHandedOver)
  protected handedOver({ order }: StockHandedOver): void {
    delete this.kept[order];
  }
}
