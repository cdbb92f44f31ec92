import type { Application, Logger, Projection, StateUnit, Store } from '@refold/core';
import { createApplication } from '@refold/core';
import type { Random } from './random.js';
import { Account, balances, byType, type OnHandling, type Tally } from './domain.js';

/** A kind of store that the crash tests run on. Processes that are to be killed, and the one that verifies, all use it. */
export interface CrashTarget<Unit extends StateUnit = StateUnit> {
  readonly name: string;
  /** How many processes write at once, at most. */
  readonly mostWriters: number;
  /** Makes a place for a new, empty store, as a name that other processes can be told. */
  create(): Promise<string>;
  open(place: string): Promise<Store<Unit>>;
  /** `movements`: an async projection that keeps a row for each stream in a table of its own, with the store's own means. */
  movements(version: number, onHandling: OnHandling): Projection<Unit>;
  /** The rows of `movements`, read beside the store as a user would. */
  readMovements(place: string): Promise<Map<string, Tally>>;
  /** What the database itself finds wrong with the place. */
  damage(place: string): Promise<string[]>;
  remove(place: string): Promise<void>;
  /** Resolves when nothing that killed processes have begun is still under way. Default: nothing can be. */
  settled?(place: string): Promise<void>;
  /** Does what else can go wrong beside processes that die, and that they must get over. Called again and again in a round. */
  disturb?(place: string, random: Random): Promise<Disturbance>;
  /** Ends what the target itself has started. */
  end?(): Promise<void>;
}

/** What was done to a place. */
export interface Disturbance {
  readonly connections: number;
  /** How often the database itself crashed. */
  readonly crashes: number;
}

/** The application that every process runs, on a store of its own. */
export function applicationOf<Unit extends StateUnit>(
  target: CrashTarget<Unit>,
  store: Store<Unit>,
  version: number,
  { onHandling = () => {}, logger }: { readonly onHandling?: OnHandling; readonly logger?: Logger } = {},
): Application<Unit> {
  return createApplication<Unit>({
    store,
    aggregates: [Account],
    projections: [
      balances(version, onHandling),
      target.movements(version, onHandling),
      byType(version, onHandling),
    ],
    logger,
  });
}
