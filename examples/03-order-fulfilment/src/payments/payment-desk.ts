import type { ReceivedEvent, ReceiverContext, Repository } from '@refold/core';
import { repositoryOf } from '@refold/inversify';
import { inject, injectable } from 'inversify';
import type { ChargeCard, RefundPayment } from '../contract.js';
import { Payment } from './payment.js';

/** Who says whether a card is good for it. */
export abstract class Bank {
  abstract accepts(card: string, cents: number): boolean;
}

/** A bank that refuses the cards of which it heard bad things. */
@injectable()
export class CautiousBank extends Bank {
  accepts(card: string): boolean {
    return !card.startsWith('4000');
  }
}

@injectable()
export class PaymentDesk {
  constructor(
    @inject(repositoryOf(Payment)) private readonly payments: Repository<Payment>,
    @inject(Bank) private readonly bank: Bank,
  ) {}

  async charge(
    { data: { order, card, cents } }: ReceivedEvent<ChargeCard>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    const accepted = this.bank.accepts(card, cents);
    await this.payments.create(
      order,
      (payment) => (accepted ? payment.take(cents) : payment.decline('the card was declined')),
      { transaction: unit },
    );
  }

  async refund({ data: { order } }: ReceivedEvent<RefundPayment>, { unit }: ReceiverContext): Promise<void> {
    await this.payments.update(order, (payment) => payment.refund(), { transaction: unit });
  }
}
