import type { Clock } from '../clock.js';
import type { EventCodec } from '../events/codec.js';
import type { Logger } from '../logger.js';
import type { EventStore } from '../store/event-store.js';
import type { StateStore, StateUnit } from '../store/state-store.js';
import type { Wakeup } from './wakeup.js';

/** What processors need of a log. */
export type ProcessorLog<Unit extends StateUnit = StateUnit> = Pick<
  EventStore<Unit>,
  'head' | 'changes' | 'readAll'
>;

/** What every processor of an application works with. */
export interface ProcessorContext<Unit extends StateUnit = StateUnit> {
  readonly log: ProcessorLog<Unit>;
  readonly state: StateStore<Unit>;
  readonly codec: EventCodec;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Woken by every commit of this process's processors. */
  readonly commits: Wakeup;
  /** Woken when somebody in this process pauses, resumes, splits or otherwise steers a processor. */
  readonly control: Wakeup;
}
