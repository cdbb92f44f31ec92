import { Aggregate, aggregate, applies, event } from '@refold/core';

/** What a customer orders. */
export interface OrderDetails {
  readonly customer: string;
  readonly card: string;
  readonly address: string;
  readonly item: string;
  readonly quantity: number;
  readonly cents: number;
}

/** Where an order is. `failed` ones still owe something: the money, the stock, or both. */
export type OrderStatus = 'new' | 'placed' | 'paid' | 'stocked' | 'shipped' | 'failed' | 'cancelled';

@event('OrderPlaced')
export class OrderPlaced {
  constructor(readonly details: OrderDetails) {}
}

@event('OrderPaid')
export class OrderPaid {}

@event('OrderStocked')
export class OrderStocked {}

@event('OrderShipped')
export class OrderShipped {}

@event('OrderFailed')
export class OrderFailed {
  constructor(readonly reason: string) {}
}

@event('OrderRefunded')
export class OrderRefunded {}

@event('OrderRestocked')
export class OrderRestocked {}

@event('OrderCancelled')
export class OrderCancelled {
  constructor(readonly reason: string) {}
}

/** An order, from the basket to the door. It is cancelled only when nothing is owed any more. */
@aggregate('order')
export class Order extends Aggregate {
  status: OrderStatus = 'new';
  details: OrderDetails = { customer: '', card: '', address: '', item: '', quantity: 0, cents: 0 };
  owesMoney = false;
  owesStock = false;
  reason = '';

  place(details: OrderDetails): void {
    this.#mustBe('new');
    this.record(new OrderPlaced(details));
  }

  pay(): void {
    this.#mustBe('placed');
    this.record(new OrderPaid());
  }

  decline(reason: string): void {
    this.#mustBe('placed');
    this.record(new OrderCancelled(reason));
  }

  stock(): void {
    this.#mustBe('paid');
    this.record(new OrderStocked());
  }

  ship(): void {
    this.#mustBe('stocked');
    this.record(new OrderShipped());
  }

  fail(reason: string): void {
    this.#mustBe('paid', 'stocked');
    this.record(new OrderFailed(reason));
  }

  refund(): void {
    this.#mustBe('failed');
    this.record(new OrderRefunded());
    this.#cancelIfSettled();
  }

  restock(): void {
    this.#mustBe('failed');
    this.record(new OrderRestocked());
    this.#cancelIfSettled();
  }

  #cancelIfSettled(): void {
    if (!this.owesMoney && !this.owesStock) this.record(new OrderCancelled(this.reason));
  }

  #mustBe(...allowed: readonly OrderStatus[]): void {
    if (allowed.includes(this.status)) return;
    throw new Error(`Order ${this.id} is ${this.status}, not ${allowed.join(' or ')}`);
  }

  @applies(OrderPlaced)
  protected placed({ details }: OrderPlaced): void {
    this.status = 'placed';
    this.details = details;
  }

  @applies(OrderPaid)
  protected paid(): void {
    this.status = 'paid';
    this.owesMoney = true;
  }

  @applies(OrderStocked)
  protected stocked(): void {
    this.status = 'stocked';
    this.owesStock = true;
  }

  @applies(OrderShipped)
  protected shipped(): void {
    this.status = 'shipped';
  }

  @applies(OrderFailed)
  protected failed({ reason }: OrderFailed): void {
    this.status = 'failed';
    this.reason = reason;
  }

  @applies(OrderRefunded)
  protected refunded(): void {
    this.owesMoney = false;
  }

  @applies(OrderRestocked)
  protected restocked(): void {
    this.owesStock = false;
  }

  @applies(OrderCancelled)
  protected cancelled({ reason }: OrderCancelled): void {
    this.status = 'cancelled';
    this.reason = reason;
  }
}
