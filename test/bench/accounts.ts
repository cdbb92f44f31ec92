import {
  Aggregate,
  aggregate,
  applies,
  defineEvent,
  documentProjection,
  event,
  type DocumentProjection,
} from '@refold/core';
import { Transform } from 'class-transformer';

/** The data of both event types, about 200 bytes as JSON. */
export interface Movement {
  readonly amount: number;
  readonly currency: string;
  readonly reference: string;
  readonly memo: string;
  readonly at: string;
}

class MovementEvent implements Movement {
  readonly amount: number;
  readonly currency: string;
  readonly reference: string;
  readonly memo: string;
  readonly at: string;

  constructor({ amount, currency, reference, memo, at }: Movement) {
    this.amount = amount;
    this.currency = currency;
    this.reference = reference;
    this.memo = memo;
    this.at = at;
  }
}

@event('Deposited')
export class Deposited extends MovementEvent {}

@event('Withdrawn')
export class Withdrawn extends MovementEvent {}

/** The same stored events, read as plain data. */
export const plainEvents = [
  defineEvent('Deposited', (data: Movement) => data),
  defineEvent('Withdrawn', (data: Movement) => data),
];

/** The same stored events, read through class-transformer. */
export class TransformedDeposit {
  declare readonly amount: number;
  declare readonly at: Date;
}
export class TransformedWithdrawal extends TransformedDeposit {}
Transform(({ value }) => new Date(String(value)))(TransformedDeposit.prototype, 'at');
event('Deposited')(TransformedDeposit);
event('Withdrawn')(TransformedWithdrawal);

@aggregate('account')
export class Account extends Aggregate {
  balance = 0;
  movements = 0;
  last = '';

  @applies(Deposited)
  protected deposited({ amount, reference }: Deposited): void {
    this.balance += amount;
    this.movements += 1;
    this.last = reference;
  }

  @applies(Withdrawn)
  protected withdrawn({ amount, reference }: Withdrawn): void {
    this.balance -= amount;
    this.movements += 1;
    this.last = reference;
  }
}

/** The same aggregate, loaded from its snapshot. */
@aggregate('account', { snapshotEvery: 100 })
export class SnapshottedAccount extends Account {}

/** The read model of one account, and what a hand-written fold keeps of it. */
export interface Statement {
  balance: number;
  movements: number;
  last: string;
}

export const emptyStatement = (): Statement => ({ balance: 0, movements: 0, last: '' });

/** Folds a movement; `sign` is -1 for a withdrawal. */
export function fold(statement: Statement, { amount, reference }: Movement, sign: 1 | -1): void {
  statement.balance += sign * amount;
  statement.movements += 1;
  statement.last = reference;
}

export function statements(
  name: string,
  options: { readonly partitions?: number } = {},
): DocumentProjection<Statement> {
  return documentProjection(name, { initial: emptyStatement, ...options })
    .on(Deposited, (statement, { data }) => fold(statement, data, 1))
    .on(Withdrawn, (statement, { data }) => fold(statement, data, -1));
}

/** The event number `index`: always the same one, every fourth a withdrawal. */
export function eventAt(index: number): Deposited | Withdrawn {
  const data: Movement = {
    amount: amountOf(index),
    currency: 'EUR',
    reference: `REF-${String(index).padStart(10, '0')}`,
    memo: `Movement ${index} as the customer ordered it by standing instruction at the branch office`,
    at: new Date(1_700_000_000_000 + index * 1000).toISOString(),
  };
  return index % 4 === 3 ? new Withdrawn(data) : new Deposited(data);
}

/** How many accounts a log holds; a longer log has more events of each. */
export const ACCOUNTS = 10_000;
const SMALL = 10;

/** Aggregates of 100 events, spread evenly over every log. */
export const smallAccounts = Array.from({ length: SMALL }, (_, index) => `small${index}`);
export const SMALL_EVENTS = 100;

/** The aggregate of 10,000 events: spread over every log that is long enough for it, see `holdsLarge`. */
export const LARGE_ACCOUNT = 'large';
export const LARGE_EVENTS = 10_000;

/** Whether a log of this length holds the large aggregate; behind a shorter one it is appended. */
export function holdsLarge(length: number): boolean {
  return length >= 10 * LARGE_EVENTS;
}

/** The account that event number `index` of a log of `length` events belongs to. */
export function accountAt(index: number, length: number): string {
  const smallStep = length / (SMALL * SMALL_EVENTS);
  if (index % smallStep === 0) return smallAccounts[(index / smallStep) % SMALL] ?? '';
  if (holdsLarge(length) && index % (length / LARGE_EVENTS) === 1) return LARGE_ACCOUNT;
  return String(scattered(index) % (ACCOUNTS - SMALL - 1));
}

/** An even scatter over 32 bits. Source: the finalizer of MurmurHash3 (Appleby). */
function scattered(index: number): number {
  let hash = index + 1;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** What a plain fold of the first `length` events gives: the truth that every read model is held against. */
export function expectedStatements(length: number): Map<string, Statement> {
  const expected = new Map<string, Statement>();
  for (let index = 0; index < length; index++) {
    const account = accountAt(index, length);
    let statement = expected.get(account);
    if (!statement) expected.set(account, (statement = emptyStatement()));
    const movement = eventAt(index);
    fold(statement, movement, movement instanceof Withdrawn ? -1 : 1);
  }
  return expected;
}

/** The sum of the amounts of the first `length` events. */
export function amountsOf(length: number): number {
  let sum = 0;
  for (let index = 0; index < length; index++) sum += amountOf(index);
  return sum;
}

function amountOf(index: number): number {
  return (index % 997) + 1;
}
