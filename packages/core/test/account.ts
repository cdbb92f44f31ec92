import { aggregate, Aggregate, applies, event, type AggregateOptions } from '@refold/core';

@event('Opened')
export class Opened {
  constructor(readonly owner: string) {}
}

@event('Deposited')
export class Deposited {
  constructor(readonly amount: number) {}
}

@event('Withdrawn')
export class Withdrawn {
  constructor(readonly amount: number) {}
}

export class OverdrawnError extends Error {}

/** What all variants of the account in these tests share; those that are declared differ in their snapshots. */
export abstract class AnyAccount extends Aggregate {
  owner: string | null = null;
  balance = 0;
  history: string[] = [];

  open(owner: string): void {
    this.record(new Opened(owner));
  }

  deposit(amount: number): this {
    this.record(new Deposited(amount));
    return this;
  }

  withdraw(amount: number): void {
    if (amount > this.balance) throw new OverdrawnError(`${amount} is more than ${this.balance}`);
    this.record(new Withdrawn(amount));
  }

  @applies(Opened)
  protected opened({ owner }: Opened): void {
    this.owner = owner;
  }

  @applies(Deposited)
  protected deposited({ amount }: Deposited): void {
    this.balance += amount;
    this.history.push(`+${amount}`);
  }

  @applies(Withdrawn)
  protected withdrawn({ amount }: Withdrawn): void {
    this.balance -= amount;
    this.history.push(`-${amount}`);
  }
}

/** An account without snapshots. */
@aggregate('account')
export class Account extends AnyAccount {}

/** A class of accounts with options of its own, in the same streams. */
export function accountClass(options: AggregateOptions): new (id: string) => AnyAccount {
  @aggregate('account', options)
  class SomeAccount extends AnyAccount {}
  return SomeAccount;
}
