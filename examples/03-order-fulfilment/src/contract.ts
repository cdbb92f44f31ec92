import { event } from '@refold/core';

// What the services say to each other. Commands are asked of one service; answers are events of the service that gives them.

/** Asks payments for money. */
@event('ChargeCard')
export class ChargeCard {
  constructor(
    readonly order: string,
    readonly card: string,
    readonly cents: number,
  ) {}
}

/** Asks payments to give the money back. */
@event('RefundPayment')
export class RefundPayment {
  constructor(readonly order: string) {}
}

@event('PaymentTaken')
export class PaymentTaken {
  constructor(
    readonly order: string,
    readonly cents: number,
  ) {}
}

@event('PaymentDeclined')
export class PaymentDeclined {
  constructor(
    readonly order: string,
    readonly reason: string,
  ) {}
}

@event('PaymentRefunded')
export class PaymentRefunded {
  constructor(
    readonly order: string,
    readonly cents: number,
  ) {}
}

/** Asks inventory to keep something for an order. */
@event('ReserveStock')
export class ReserveStock {
  constructor(
    readonly order: string,
    readonly item: string,
    readonly quantity: number,
  ) {}
}

/** Asks inventory to put it back. */
@event('ReleaseStock')
export class ReleaseStock {
  constructor(
    readonly order: string,
    readonly item: string,
  ) {}
}

/** Tells inventory that it has left the house. */
@event('HandOverStock')
export class HandOverStock {
  constructor(
    readonly order: string,
    readonly item: string,
  ) {}
}

@event('StockReserved')
export class StockReserved {
  constructor(
    readonly order: string,
    readonly quantity: number,
  ) {}
}

@event('StockRefused')
export class StockRefused {
  constructor(
    readonly order: string,
    readonly reason: string,
  ) {}
}

@event('StockReleased')
export class StockReleased {
  constructor(
    readonly order: string,
    readonly quantity: number,
  ) {}
}

/** Asks shipping to bring a parcel to the customer. */
@event('ShipParcel')
export class ShipParcel {
  constructor(
    readonly order: string,
    readonly address: string,
  ) {}
}

@event('ParcelShipped')
export class ParcelShipped {
  constructor(readonly order: string) {}
}

@event('ParcelRefused')
export class ParcelRefused {
  constructor(
    readonly order: string,
    readonly reason: string,
  ) {}
}

/** Asks notifications to tell a customer how it ended. */
@event('TellCustomer')
export class TellCustomer {
  constructor(
    readonly order: string,
    readonly customer: string,
    readonly text: string,
  ) {}
}
