import { Random } from '../crash/random.js';
import type { ProcessorSpec } from './domain.js';
import { NO_FAULTS, type Faults } from './simulated-process.js';

export const COMMANDS = [
  ...['pause', 'resume', 'split', 'merge', 'reset', 'rebuild', 'rollback'],
  ...['retry', 'discard', 'catchUp'],
] as const;

export type CommandName = (typeof COMMANDS)[number];

/** An event that is to be appended. */
export interface PlannedEvent {
  readonly type: 'Moved' | 'Renamed' | 'Noise';
  readonly n: number;
  readonly group: string;
}

/** Something that is done to the programs of a run. `pick`, from 0 to 1, says which of those that are there then. */
export type Action =
  | { readonly kind: 'append'; readonly stream: string; readonly events: readonly PlannedEvent[] }
  | { readonly kind: 'start'; readonly version: number }
  | { readonly kind: 'stop' | 'crash'; readonly pick: number }
  | { readonly kind: 'freeze' | 'cutOff'; readonly pick: number; readonly ms: number }
  | {
      readonly kind: 'command';
      readonly command: CommandName;
      readonly processor: string;
      readonly version: number;
      /** Whether a worker's process gives it, or one of its own. */
      readonly byWorker: boolean;
      readonly pick: number;
    };

/** An action and the step at which it begins. */
export interface PlannedAction {
  readonly at: number;
  readonly action: Action;
}

/** What a run is made of; what the scheduler does with it is drawn apart. */
export interface Plan {
  readonly processors: readonly ProcessorSpec[];
  readonly workers: number;
  readonly leaseMs: number;
  readonly batchSize: number;
  readonly faults: Faults;
  /** After so many steps everything is healed. */
  readonly steps: number;
  /** Whether it is watched for a while when all is done, that nobody takes anything from anybody then. */
  readonly lingers: boolean;
  readonly actions: readonly PlannedAction[];
}

const NAMES = ['totals', 'chain', 'mails', 'pings'] as const;

/** The plan of a seed. */
export function planOf(seed: number): Plan {
  const random = new Random(seed, 1);
  const processors = random.sample(NAMES, random.between(1, 3)).map((name) => specOf(name, random));
  const steps = random.between(60, 260);
  const drawn = Array.from({ length: random.between(6, 22) }, (_, index) => ({
    at: random.between(0, steps),
    action: actionOf(random, processors, index),
  }));
  return {
    processors,
    steps,
    lingers: random.chance(0.2),
    workers: random.between(1, 3),
    leaseMs: oneOf(random, [500, 1000, 2000]),
    batchSize: oneOf(random, [1, 2, 3, 100]),
    faults: random.chance(0.3)
      ? NO_FAULTS
      : { before: random.next() * 0.04, after: random.next() * 0.04, crash: random.next() * 0.015 },
    actions: drawn.sort((a, b) => a.at - b.at),
  };
}

function specOf(name: ProcessorSpec['name'], random: Random): ProcessorSpec {
  const parks = name === 'mails' || (name !== 'pings' && random.chance(0.5));
  return {
    name,
    partitions: random.between(1, 4),
    onError: name === 'pings' ? 'skip' : parks ? 'park' : 'stop',
    key: random.chance(0.4) ? 'group' : 'stream',
    poison: oneOf(random, [0, 5, 15, 30]),
  };
}

function actionOf(random: Random, processors: readonly ProcessorSpec[], index: number): Action {
  const draw = random.next();
  const pick = random.next();
  const version = random.chance(0.3) ? 2 : 1;
  if (draw < 0.5) return appendOf(random, index);
  if (draw < 0.57) return { kind: 'start', version };
  if (draw < 0.62) return { kind: 'stop', pick };
  if (draw < 0.66) return { kind: 'crash', pick };
  if (draw < 0.71) return { kind: 'freeze', pick, ms: random.between(100, 6000) };
  if (draw < 0.75) return { kind: 'cutOff', pick, ms: random.between(100, 4000) };
  return {
    kind: 'command',
    command: oneOf(random, COMMANDS),
    processor: oneOf(random, processors).name,
    byWorker: random.chance(0.4),
    version,
    pick,
  };
}

function appendOf(random: Random, index: number): Action {
  const events = Array.from({ length: random.between(1, 4) }, (_, at): PlannedEvent => {
    return {
      type: oneOf(random, ['Moved', 'Moved', 'Renamed', 'Noise']),
      n: index * 10 + at + 1,
      group: `g${random.between(1, 4)}`,
    };
  });
  return { kind: 'append', stream: `thing-${random.between(1, 4)}`, events };
}

function oneOf<Item>(random: Random, items: readonly Item[]): Item {
  const [chosen] = random.sample(items, 1);
  if (chosen === undefined) throw new Error('There is nothing to choose from');
  return chosen;
}
