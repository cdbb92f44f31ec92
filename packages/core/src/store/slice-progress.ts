import { InvalidArgumentError } from '../errors.js';
import type { PartitionKey, SliceProgress, SliceRange } from './processor-state.js';
import { SLICES } from './slices.js';

/** A range with its checkpoint, and what of it is further. */
export interface RangeProgress extends SliceProgress {
  readonly ahead: readonly SliceProgress[];
}

/** All slices in ranges of equal width: two differ by one slice at most. @throws InvalidArgumentError unless 1 to 1024 */
export function equalRanges(count: number): SliceRange[] {
  if (!Number.isInteger(count) || count < 1 || count > SLICES) {
    throw new InvalidArgumentError('partitions', count, `must be a whole number from 1 to ${SLICES}`);
  }
  const startOf = (index: number): number => Math.floor((index * SLICES) / count);
  return Array.from({ length: count }, (_, index) => ({
    firstSlice: startOf(index),
    lastSlice: startOf(index + 1) - 1,
  }));
}

/**
 * How far each slice is, as ranges in their order that do not overlap; where several of those given do, the furthest
 * counts. Neighbours that are equally far are one.
 */
export function furthestProgress(ranges: readonly SliceProgress[]): SliceProgress[] {
  const positions: (number | undefined)[] = new Array<undefined>(SLICES).fill(undefined);
  for (const { firstSlice, lastSlice, position } of ranges) {
    for (let slice = firstSlice; slice <= lastSlice; slice++) {
      positions[slice] = Math.max(position, positions[slice] ?? position);
    }
  }
  return asRanges(positions);
}

/** How far the slices of partitions are, what is ahead of their checkpoints included. */
export function progressOf(partitions: readonly RangeProgress[]): SliceProgress[] {
  return furthestProgress(partitions.flatMap((partition) => [partition, ...partition.ahead]));
}

/** What is still ahead when the checkpoint has moved. */
export function aheadOf(ahead: readonly SliceProgress[], position: number): SliceProgress[] {
  return ahead.filter((range) => range.position > position);
}

/**
 * The two halves of a range that is cut before the slice `at`. @throws InvalidArgumentError if that does not lie inside it
 */
export function splitProgress(
  { firstSlice, lastSlice, position, ahead }: RangeProgress,
  at: number,
): [left: RangeProgress, right: RangeProgress] {
  if (!Number.isInteger(at) || at <= firstSlice || at > lastSlice) {
    const inside = `must be a slice behind ${firstSlice}, where the partition begins, up to ${lastSlice}, where it ends`;
    throw new InvalidArgumentError('at', at, inside);
  }
  const half = (range: SliceRange): RangeProgress => ({ ...range, position, ahead: within(ahead, range) });
  return [half({ firstSlice, lastSlice: at - 1 }), half({ firstSlice: at, lastSlice })];
}

/** Two neighbouring ranges as one: it is where the lower checkpoint is, what was further is ahead. */
export function mergeProgress(left: RangeProgress, right: RangeProgress): RangeProgress {
  const position = Math.min(left.position, right.position);
  return {
    firstSlice: left.firstSlice,
    lastSlice: right.lastSlice,
    position,
    ahead: aheadOf(progressOf([left, right]), position),
  };
}

/** A checkpoint never goes back. @throws InvalidArgumentError */
export function checkMove(from: number, to: number): void {
  if (to < from)
    throw new InvalidArgumentError('to', to, `must not be before ${from}, where the move begins`);
}

/** What is thrown for a partition that is not there. */
export function noPartition({ processor, generation, firstSlice }: PartitionKey, what: string): Error {
  return new InvalidArgumentError(
    'firstSlice',
    firstSlice,
    `must be ${what} of "${processor}" generation ${generation}`,
  );
}

function within(ahead: readonly SliceProgress[], { firstSlice, lastSlice }: SliceRange): SliceProgress[] {
  return ahead
    .filter((range) => range.firstSlice <= lastSlice && range.lastSlice >= firstSlice)
    .map((range) => ({
      firstSlice: Math.max(firstSlice, range.firstSlice),
      lastSlice: Math.min(lastSlice, range.lastSlice),
      position: range.position,
    }));
}

function asRanges(positions: readonly (number | undefined)[]): SliceProgress[] {
  const ranges: SliceProgress[] = [];
  positions.forEach((position, slice) => {
    if (position === undefined) return;
    const last = ranges.at(-1);
    if (last?.lastSlice === slice - 1 && last.position === position) {
      ranges[ranges.length - 1] = { ...last, lastSlice: slice };
    } else {
      ranges.push({ firstSlice: slice, lastSlice: slice, position });
    }
  });
  return ranges;
}
