import { Aggregate, aggregate, applies, event } from '@refold/core';

@event('CustomerTold')
export class CustomerTold {
  constructor(
    readonly customer: string,
    readonly text: string,
  ) {}
}

/** What a customer is told about an order, once. */
@aggregate('notice')
export class Notice extends Aggregate {
  told = false;

  tell(customer: string, text: string): void {
    if (this.told) throw new Error(`The customer of order ${this.id} was told already`);
    this.record(new CustomerTold(customer, text));
  }

  @applies(CustomerTold)
  protected hasTold(): void {
    this.told = true;
  }
}
