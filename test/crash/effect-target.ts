import type { RecordedEvent, StateUnit, Store } from '@refold/core';
import type { Effect } from './effects.js';

/** A kind of store whose deliveries' effects are counted, in the store and outside of it. */
export interface EffectTarget<Unit extends StateUnit = StateUnit> {
  readonly name: string;
  /** Makes a place for a new, empty store, as a name that other processes can be told. */
  create(): Promise<string>;
  open(place: string): Promise<Store<Unit>>;
  /** Makes the table that `writeEffect` writes to. */
  prepareEffects(place: string): Promise<void>;
  /** Writes down, in a transaction of the store, that an event had its effect. */
  writeEffect(unit: Unit, event: RecordedEvent, sequence: string, life: number): Promise<void>;
  /** What was written and committed, in the order in which it was written, read beside the store. */
  readEffects(place: string): Promise<Effect[]>;
  remove(place: string): Promise<void>;
  /** Ends what it has started for all places. */
  close(): Promise<void>;
}
