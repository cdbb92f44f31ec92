import { deliveryNames, processorNames, projectionNames } from './chaos-domain.js';
import { LEASE_MS, type Steering } from './chaos-orders.js';
import type { Role } from './chaos-actor.js';
import type { Disturbance } from './chaos-target.js';
import { Random } from './random.js';

/** What happens at one time of a round. A number says which process: one of those that are alive then. */
export type Action = { readonly at: number } & (
  | { readonly kind: 'kill'; readonly role: Role; readonly number: number }
  | { readonly kind: 'freeze'; readonly role: Role; readonly number: number; readonly ms: number }
  | { readonly kind: 'drain'; readonly number: number }
  | { readonly kind: 'steer'; readonly number: number; readonly steering: Steering }
  /** Workers that start from now on have a higher version of the projections. */
  | { readonly kind: 'raise' }
  | { readonly kind: 'disturb'; readonly what: Disturbance }
);

/** The least and the most that one thing comes after another, in milliseconds. */
const GAP = [20, 240] as const;

/** How often each thing happens beside the others. */
const WEIGHTS = {
  'kill worker': 9,
  'kill writer': 3,
  'freeze worker': 7,
  'freeze writer': 2,
  drain: 5,
  split: 14,
  merge: 12,
  pause: 6,
  resume: 6,
  rebuild: 10,
  rollback: 5,
  reset: 2,
  retry: 8,
  discard: 3,
  raise: 1,
  terminate: 7,
  cut: 3,
  restart: 1,
  crash: 1,
} as const;
type Kind = keyof typeof WEIGHTS;

/** The actions of a round: a function of the seed and the round's number. What the scheduler makes of it is not. */
export function planChaos(
  seed: number,
  round: number,
  { ms, disturbances }: { readonly ms: number; readonly disturbances: readonly Disturbance[] },
): Action[] {
  const random = new Random(seed, round);
  const kinds = bag(disturbances);
  const actions: Action[] = [];
  let at = 0;
  for (;;) {
    at += random.between(...GAP);
    if (at >= ms) return actions;
    const kind = kinds[random.between(0, kinds.length - 1)] ?? 'split';
    actions.push(actionOf(kind, at, random));
  }
}

function bag(disturbances: readonly Disturbance[]): Kind[] {
  const optional: readonly string[] = ['terminate', 'cut', 'restart', 'crash'] satisfies Disturbance[];
  const kinds = Object.entries(WEIGHTS) as [Kind, number][];
  return kinds
    .filter(([kind]) => !optional.includes(kind) || disturbances.some((one) => one === kind))
    .flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));
}

function actionOf(kind: Kind, at: number, random: Random): Action {
  const number = random.between(0, 99);
  switch (kind) {
    case 'kill worker':
      return { at, kind: 'kill', role: 'worker', number };
    case 'kill writer':
      return { at, kind: 'kill', role: 'writer', number };
    case 'freeze worker':
      return { at, kind: 'freeze', role: 'worker', number, ms: random.between(LEASE_MS, 3 * LEASE_MS) };
    case 'freeze writer':
      return { at, kind: 'freeze', role: 'writer', number, ms: random.between(100, LEASE_MS) };
    case 'drain':
      return { at, kind, number };
    case 'raise':
      return { at, kind };
    case 'terminate':
    case 'cut':
    case 'restart':
    case 'crash':
      return { at, kind: 'disturb', what: kind };
    case 'split':
    case 'merge':
    case 'pause':
    case 'resume':
    case 'rebuild':
    case 'rollback':
    case 'reset':
    case 'retry':
    case 'discard':
      return { at, kind: 'steer', number, steering: steeringOf(kind, random) };
  }
}

function steeringOf(what: Steering['what'], random: Random): Steering {
  const documents = projectionNames.filter((name) => name !== 'kinds');
  const rebuilt = ['rebuild', 'rollback', 'reset'].includes(what);
  const lettered = ['retry', 'discard'].includes(what);
  const among = rebuilt ? documents : lettered ? (['regions', 'exact', 'least'] as const) : processorNames;
  const steered = among.filter((name) => name !== 'kinds');
  const [processor = deliveryNames[0]] = random.sample(steered, 1);
  return { what, processor, holdMs: random.between(50, 500) };
}
