import type { Partition } from '../store/processor-state.js';

/** What one worker should do about the partitions of a processor. */
export interface Share {
  /** Those to take, as long as there is room; they are free or expired. */
  readonly acquire: readonly Partition[];
  /** How many of its own to give up. */
  readonly release: number;
}

/**
 * Spreads partitions evenly over the live workers, moving as few as possible: nobody holds more than the average rounded
 * up; what somebody needs who has less than the average rounded down is left to him; and while there is not enough of it
 * free, those who have the most give up one each. All workers that see the same rows come to plans that fit together.
 */
export function shareOf(
  partitions: readonly Partition[],
  me: string,
  workers: readonly string[],
  now: number,
): Share {
  const live = new Set([...workers, me]);
  const least = Math.floor(partitions.length / live.size);
  const most = Math.ceil(partitions.length / live.size);
  const held = new Map([...live].map((name) => [name, 0]));
  const free: Partition[] = [];
  for (const partition of partitions) {
    const holder = holderOf(partition, now);
    if (holder === undefined) free.push(partition);
    else held.set(holder, (held.get(holder) ?? 0) + 1);
  }
  const mine = held.get(me) ?? 0;
  if (mine > most) return { acquire: [], release: mine - most };
  if (mine < least) return { acquire: free.slice(0, least - mine), release: 0 };
  const wanting =
    [...live].reduce((sum, name) => sum + Math.max(0, least - (held.get(name) ?? 0)), 0) - free.length;
  // One at a time, so that one does not take what several are to share; and never what was given up for another.
  if (mine < most && wanting < 0) return { acquire: free.slice(0, 1), release: 0 };
  if (mine <= least || wanting <= 0) return { acquire: [], release: 0 };
  const givers = [...live].filter((name) => (held.get(name) ?? 0) > least).sort();
  return { acquire: [], release: givers.indexOf(me) < wanting ? 1 : 0 };
}

/** Who holds a partition now; an expired lease is nobody's. */
export function holderOf({ holder, leaseExpiresAt }: Partition, now: number): string | undefined {
  return holder !== undefined && (leaseExpiresAt?.getTime() ?? 0) > now ? holder : undefined;
}
