import { projectionNames, type ProjectionName } from './domain.js';
import { Random } from './random.js';

/** When a process is killed. */
export type Moment =
  /** So long after its start: while it loads, migrates, or settles what was left open. */
  | { readonly kind: 'opening'; readonly afterMs: number }
  /** So long after it has begun to work. */
  | { readonly kind: 'time'; readonly afterMs: number }
  /** As soon as it has told of so many acknowledged appends, or of so many committed batches. */
  | { readonly kind: 'count'; readonly steps: number }
  /** By its own hand, inside the handler of so manieth event: in the midst of a batch or of an append's transaction. */
  | { readonly kind: 'handler'; readonly events: number }
  /** By its own hand: when so many of its appends or batches have been committed, before it takes note of the last one. */
  | { readonly kind: 'committed'; readonly steps: number };

/** What happens in one round. A place is a list of lives: when a process has been killed, the next one starts in its place. */
export interface RoundPlan {
  /** How much the version of every projection is raised. */
  readonly raise: 0 | 1;
  /** The projection that the first worker rebuilds while it follows the log. */
  readonly rebuild: ProjectionName | undefined;
  /** One place or several: their writers use the store at once. */
  readonly writers: readonly (readonly Moment[])[];
  readonly worker: readonly Moment[];
}

const WRITER_KINDS = ['time', 'committed', 'count', 'handler'] as const;
const WORKER_KINDS = ['time', 'handler', 'committed', 'count'] as const;

/** How much work a count asks for, at most. */
const MOST_APPENDS = 300;
const MOST_BATCHES = 30;

/** The plan of a round: a function of the seed and the round's number. What the scheduler does with it is not. */
export function planRound(seed: number, round: number, mostWriters: number): RoundPlan {
  const random = new Random(seed, round);
  const raise = round > 0 && random.chance(0.25) ? 1 : 0;
  const [rebuilt] = random.sample(projectionNames, 1);
  return {
    raise,
    // A build that was interrupted is taken up by a version that is raised, and replaced by a rebuild: one at a time.
    rebuild: raise === 0 && random.chance(0.4) ? rebuilt : undefined,
    writers: Array.from({ length: random.chance(0.5) ? random.between(2, mostWriters) : 1 }, (_, place) =>
      lives(random, WRITER_KINDS[(round + place) % WRITER_KINDS.length] ?? 'time', MOST_APPENDS),
    ),
    worker: lives(random, WORKER_KINDS[round % WORKER_KINDS.length] ?? 'time', MOST_BATCHES),
  };
}

/** The kinds of moments take turns from round to round, so that a short run meets them all. */
function lives(random: Random, kind: Exclude<Moment['kind'], 'opening'>, most: number): Moment[] {
  const moments: Moment[] = random.chance(0.35) ? [{ kind: 'opening', afterMs: random.between(0, 250) }] : [];
  moments.push(moment(random, kind, most));
  if (random.chance(0.25)) moments.push(moment(random, 'time', most));
  return moments;
}

function moment(random: Random, kind: Exclude<Moment['kind'], 'opening'>, most: number): Moment {
  switch (kind) {
    case 'time':
      return { kind, afterMs: random.between(20, 600) };
    case 'count':
    case 'committed':
      return { kind, steps: random.between(1, most) };
    case 'handler':
      return { kind, events: random.between(1, 300) };
  }
}
