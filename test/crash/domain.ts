import {
  Aggregate,
  aggregate,
  applies,
  documentProjection,
  event,
  type DocumentProjection,
  type ProcessorMode,
  type RecordedEvent,
} from '@refold/core';

@event('Deposited')
export class Deposited {
  constructor(
    readonly amount: number,
    readonly note: string,
  ) {}
}

@event('Withdrawn')
export class Withdrawn {
  constructor(
    readonly amount: number,
    readonly note: string,
  ) {}
}

@aggregate('account', { snapshotEvery: 20 })
export class Account extends Aggregate {
  balance = 0;
  moves = 0;

  deposit(amount: number, note: string): void {
    this.record(new Deposited(amount, note));
  }

  /** Withdraws what there is, at most the amount. */
  withdraw(amount: number, note: string): void {
    const possible = Math.min(amount, this.balance);
    if (possible > 0) this.record(new Withdrawn(possible, note));
  }

  @applies(Deposited)
  protected deposited({ amount }: Deposited): void {
    this.balance += amount;
    this.moves += 1;
  }

  @applies(Withdrawn)
  protected withdrawn({ amount }: Withdrawn): void {
    this.balance -= amount;
    this.moves += 1;
  }
}

export const accountIds = Array.from({ length: 8 }, (_, index) => String(index + 1));

/** What every read model here keeps of the events of one key. */
export interface Tally {
  readonly moves: number;
  readonly total: number;
  /** Depends on every amount and on their order: an event left out, handled twice or out of order changes it. */
  readonly chain: number;
}

export const emptyTally: Tally = { moves: 0, total: 0, chain: 0 };

/** `chain` is a polynomial hash: `chain * CHAIN_FACTOR + amount`, modulo a prime. */
export const CHAIN_FACTOR = 31;
export const CHAIN_PRIME = 1_000_003;

export function addTo({ moves, total, chain }: Tally, amount: number): Tally {
  return {
    moves: moves + 1,
    total: total + amount,
    chain: (((chain * CHAIN_FACTOR + amount) % CHAIN_PRIME) + CHAIN_PRIME) % CHAIN_PRIME,
  };
}

/** Told of every event that a projection handles, before it does. */
export type OnHandling = (projection: ProjectionName) => void;

/** `balances` and `movements` have a row for each stream, `by_type` one for each event type. */
export const projectionNames = ['balances', 'movements', 'by_type'] as const;
export type ProjectionName = (typeof projectionNames)[number];

/** Async documents. */
export function balances(version: number, onHandling: OnHandling): DocumentProjection<Tally> {
  return tallies('balances', { version, mode: 'async' }, ({ stream }) => stream, onHandling);
}

/** Inline documents. */
export function byType(version: number, onHandling: OnHandling): DocumentProjection<Tally> {
  return tallies('by_type', { version, mode: 'inline' }, ({ type }) => type, onHandling);
}

/** What a read model must hold of these events, by a plain loop. */
export function foldOf(name: ProjectionName, events: readonly RecordedEvent[]): Map<string, Tally> {
  const folded = new Map<string, Tally>();
  for (const { stream, type, data } of events) {
    const key = name === 'by_type' ? type : stream;
    const { amount } = data as { amount: number };
    folded.set(key, addTo(folded.get(key) ?? emptyTally, type === 'Withdrawn' ? -amount : amount));
  }
  return folded;
}

function tallies(
  name: ProjectionName,
  options: { readonly version: number; readonly mode: ProcessorMode },
  key: (event: RecordedEvent) => string,
  onHandling: OnHandling,
): DocumentProjection<Tally> {
  return documentProjection(name, { ...options, initial: () => emptyTally, key })
    .on(Deposited, (tally, { data }) => {
      onHandling(name);
      return addTo(tally, data.amount);
    })
    .on(Withdrawn, (tally, { data }) => {
      onHandling(name);
      return addTo(tally, -data.amount);
    });
}
