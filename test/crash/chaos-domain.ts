import { appendFileSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { defineEvent, idOf, type RecordedEvent } from '@refold/core';
import { addTo, emptyTally, type Tally } from './domain.js';

/** An event that some handler cannot handle. */
export interface Poison {
  /** The processor that it is poison to. */
  readonly victim: ProcessorName;
  /** Its handler throws until the event is discarded, until a time has come, or it kills its process so many times. */
  readonly kind: 'always' | 'awhile' | 'deadly';
  /** For `awhile`: milliseconds since 1970. */
  readonly until?: number;
  /** For `deadly`. */
  readonly deaths?: number;
}

interface Move {
  readonly amount: number;
  /** Of this region: `region/number`. */
  readonly owner: string;
  readonly region: string;
  readonly poison?: Poison;
}

export const Moved = defineEvent('Moved', (move: Move) => move);
export const Returned = defineEvent('Returned', (move: Move) => move);

/**
 * Documents by stream; documents by what the data says, of which each event goes into two; a table; inline documents by
 * type, which take no poison.
 */
export const projectionNames = ['balances', 'regions', 'ledger', 'kinds'] as const;
/** One of every guarantee. */
export const deliveryNames = ['exact', 'least', 'most'] as const;
export const processorNames = [...projectionNames, ...deliveryNames];
export type ProjectionName = (typeof projectionNames)[number];
export type ProcessorName = ProjectionName | (typeof deliveryNames)[number];

/** Those that park what they cannot handle, so that it may be poison for ever. */
export const parking: readonly ProcessorName[] = ['regions', 'exact', 'least'];

/** Where an event's deliveries see it in order: `exact` by region, the others by stream. */
export function sequenceOf(name: ProcessorName, { stream, data }: RecordedEvent): string {
  return name === 'exact' || name === 'regions' ? (data as Move).region : stream;
}

export function moveOf({ data }: RecordedEvent): Move {
  return data as Move;
}

/** What an event adds. */
export function amountOf({ type, data }: RecordedEvent): number {
  const { amount } = data as Move;
  return type === 'Returned' ? -amount : amount;
}

/** The keys under which a read model keeps an event. */
export function keysOf(name: ProjectionName, event: RecordedEvent): readonly string[] {
  const { owner, region } = moveOf(event);
  switch (name) {
    case 'balances':
      return [idOf(event.stream)];
    case 'regions':
      return [`owner ${owner}`, `region ${region}`];
    case 'ledger':
      return [event.stream];
    case 'kinds':
      return [event.type];
  }
}

/** What a read model must hold of these events, by a plain loop. */
export function foldOf(name: ProjectionName, events: readonly RecordedEvent[]): Map<string, Tally> {
  const folded = new Map<string, Tally>();
  for (const event of events) {
    for (const key of keysOf(name, event)) {
      folded.set(key, addTo(folded.get(key) ?? emptyTally, amountOf(event)));
    }
  }
  return folded;
}

/** Lets poison work in one process. */
export class Poisoning {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws PoisonError, or ends the process, if the event is poison to the processor and has not been used up. */
  strike(name: ProcessorName, event: RecordedEvent): void {
    const { poison } = moveOf(event);
    if (poison?.victim !== name) return;
    if (poison.kind === 'always') throw new PoisonError(poison.kind);
    if (existsSync(antidoteIn(this.#folder))) return;
    if (poison.kind === 'awhile') {
      if (Date.now() < (poison.until ?? 0)) throw new PoisonError(poison.kind);
      return;
    }
    const deaths = join(this.#folder, `deaths-${name}-${event.position}`);
    if (existsSync(deaths) && statSync(deaths).size >= (poison.deaths ?? 1)) return;
    appendFileSync(deaths, 'x');
    process.kill(process.pid, 'SIGKILL');
  }
}

/** The file that ends all poison but that of the kind `always`. */
export function antidoteIn(folder: string): string {
  return join(folder, 'antidote');
}

/** What a handler throws at poison. */
export class PoisonError extends Error {
  constructor(kind: Poison['kind']) {
    super(`${POISON} ${kind}`);
  }
}

/** The message of letters that stay dead begins with it. */
export const POISON = 'poison';
