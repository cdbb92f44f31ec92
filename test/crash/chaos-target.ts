import { setTimeout as sleep } from 'node:timers/promises';
import {
  createApplication,
  delivery,
  documentProjection,
  type Application,
  type Delivery,
  type DocumentProjection,
  type Guarantee,
  type Logger,
  type Projection,
  type ProjectionOptions,
  type RecordedEvent,
  type StateUnit,
  type Store,
} from '@refold/core';
import {
  amountOf,
  keysOf,
  Moved,
  Returned,
  sequenceOf,
  type ProcessorName,
  type ProjectionName,
} from './chaos-domain.js';
import { addTo, emptyTally, type Tally } from './domain.js';
import type { EffectTarget } from './effect-target.js';

/** What can be done to a database while it is in use. */
export type Disturbance = 'terminate' | 'cut' | 'restart' | 'crash';

/** A kind of store that the chaos test runs on. */
export interface ChaosTarget<Unit extends StateUnit = StateUnit> extends EffectTarget<Unit> {
  /** What `disturb` can do. */
  readonly disturbances: readonly Disturbance[];
  /** The name under which other processes reach a place, where they are to be disturbed. */
  reached(place: string): Promise<string>;
  /** Resolves when it is over: the database can be reached. */
  disturb(place: string, what: Disturbance): Promise<void>;
  /** `ledger`: a row for each stream, written with the store's own means. `onHandling` is called for every event first. */
  ledger(options: ProjectionOptions, onHandling: (event: RecordedEvent) => void): Projection<Unit>;
  /** The rows of `ledger`, read beside the store. */
  readLedger(place: string): Promise<Map<string, Tally>>;
  /** What the database itself finds wrong with the place. */
  damage(place: string): Promise<string[]>;
}

/** What the handlers of one process do besides. */
export interface Handlers {
  /** Called for every event before it is handled. */
  readonly strike: (name: ProcessorName, event: RecordedEvent) => void;
  /** Called for the effect of an event outside of the store. */
  readonly outside: (name: 'least' | 'most', event: RecordedEvent) => void;
  readonly life: number;
}

/** How often and when what failed is tried again, short so that much of it happens. */
const errors = {
  retry: { maxAttempts: 3, firstDelayMs: 20 },
  deadLetters: { retryAfterMs: [300, 1000] },
} as const;

/** The application that every process runs, on a store of its own. */
export function chaosApplication<Unit extends StateUnit>(
  target: ChaosTarget<Unit>,
  store: Store<Unit>,
  version: number,
  { logger, ...handlers }: Handlers & { readonly logger?: Logger },
): Application<Unit> {
  const { strike } = handlers;
  return createApplication<Unit>({
    store,
    projections: [
      tallies('balances', { version, partitions: 4 }, handlers),
      tallies('regions', { version, partitions: 3, onError: 'park', ...errors }, handlers),
      target.ledger({ version, partitions: 2, ...errors }, (event) => strike('ledger', event)),
      tallies('kinds', { mode: 'inline' }, handlers),
    ],
    deliveries: deliveries(target, handlers),
    logger,
  });
}

function tallies(
  name: ProjectionName,
  options: ProjectionOptions,
  { strike }: Handlers,
): DocumentProjection<Tally> {
  // Changed in place: what a batch that failed has done to a document must not be seen by the next.
  const fold = (tally: Tally, event: RecordedEvent): void => {
    strike(name, event);
    Object.assign(tally, addTo(tally, amountOf(event)));
  };
  return documentProjection(name, {
    ...options,
    initial: () => ({ ...emptyTally }),
    key: (event) => keysOf(name, event),
    // An event of `regions` goes into two documents.
    sequence: name === 'regions' ? (event) => sequenceOf(name, event) : undefined,
  })
    .on(Moved, fold)
    .on(Returned, fold);
}

function deliveries<Unit extends StateUnit>(
  target: ChaosTarget<Unit>,
  { strike, outside, life }: Handlers,
): Delivery<Unit>[] {
  const declare = (
    name: 'exact' | 'least' | 'most',
    guarantee: Guarantee,
    effect: (event: RecordedEvent, unit: () => Unit) => void | Promise<void>,
  ): Delivery<Unit> => {
    const handle = async (event: RecordedEvent, context: { readonly unit: Unit }): Promise<void> => {
      strike(name, event);
      if (Math.random() < 0.2) await sleep(1);
      await effect(event, () => context.unit);
      if (Math.random() < 0.2) await sleep(1);
    };
    const policy = guarantee === 'atMostOnce' ? {} : errors;
    const sequence = (event: RecordedEvent): string => sequenceOf(name, event);
    return delivery<Unit>(name, { guarantee, partitions: 3, sequence, ...policy })
      .on(Moved, handle)
      .on(Returned, handle);
  };
  return [
    declare('exact', 'exactlyOnce', (event, unit) =>
      target.writeEffect(unit(), event, sequenceOf('exact', event), life),
    ),
    declare('least', 'atLeastOnce', (event) => outside('least', event)),
    declare('most', 'atMostOnce', (event) => outside('most', event)),
  ];
}
