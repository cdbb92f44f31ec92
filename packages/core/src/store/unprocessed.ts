import type { SliceProgress } from './processor-state.js';
import { progressOf, type RangeProgress } from './slice-progress.js';
import type { Generation } from './state-store.js';

/** Where an event is in the log and among the slices. */
export interface EventPlace {
  readonly position: number;
  readonly slice: number;
}

/** What a generation has done, and what it has left. */
export interface GenerationWork {
  readonly generation: Pick<Generation, 'startedAfter' | 'replayed'>;
  readonly partitions: readonly RangeProgress[];
  /** Its dead letters that hold something back. */
  readonly letters: readonly EventPlace[];
  /** What the one before had left unprocessed when this one took its place. */
  readonly inherited: readonly EventPlace[];
}

/**
 * What nobody has processed, though a generation, or one before it, has passed it: its dead letters, save those of events
 * that it only replayed, and what it inherited and has not come to. In the order of the positions.
 */
export function unprocessedOf({
  generation,
  partitions,
  letters,
  inherited,
}: GenerationWork): readonly EventPlace[] {
  const { startedAfter, replayed } = generation;
  const progress = inherited.length > 0 ? progressOf(partitions) : [];
  const owed = new Set(inherited.map(({ position }) => position));
  const left = [
    ...letters.filter((one) => owed.has(one.position) || one.position > reached(replayed, one.slice)),
    ...inherited.filter((one) => one.position <= startedAfter || one.position > reached(progress, one.slice)),
  ];
  return [...new Map(left.map((one) => [one.position, one])).values()].sort(
    (a, b) => a.position - b.position,
  );
}

function reached(ranges: readonly SliceProgress[], slice: number): number {
  return ranges.find((one) => one.firstSlice <= slice && slice <= one.lastSlice)?.position ?? 0;
}
