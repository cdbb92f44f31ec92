import { Aggregate, aggregate, applies } from '@refold/core';
import { PaymentDeclined, PaymentRefunded, PaymentTaken } from '../contract.js';

/** The money of one order. */
@aggregate('payment', { events: [PaymentDeclined] })
export class Payment extends Aggregate {
  cents = 0;

  take(cents: number): void {
    this.record(new PaymentTaken(this.id, cents));
  }

  decline(reason: string): void {
    this.record(new PaymentDeclined(this.id, reason));
  }

  refund(): void {
    if (this.cents === 0) throw new Error(`Nothing was taken for order ${this.id}`);
    this.record(new PaymentRefunded(this.id, this.cents));
  }

  @applies(PaymentTaken)
  protected taken({ cents }: PaymentTaken): void {
    this.cents = cents;
  }

  @applies(PaymentRefunded)
  protected refunded(): void {
    this.cents = 0;
  }
}
