import type { RecordedEvent } from '../store/event-store.js';
import { sliceOf } from '../store/slices.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import type { Processor } from './processor.js';

/**
 * Tells for every event whether an earlier generation of the processor has processed it: all that is handled before a
 * build takes over, and from then on what lies behind where the replaced one had come in the event's slice.
 */
export function replayCheck<Unit extends StateUnit>(
  processor: Processor<Unit>,
  { replayed, status, shadow }: Generation,
  besideLive: boolean,
): (event: RecordedEvent) => boolean {
  if (shadow || (status !== 'live' && besideLive)) return () => true;
  const furthest = Math.max(0, ...replayed.map(({ position }) => position));
  return (event) => {
    if (event.position > furthest) return false;
    const slice = sliceOf(processor.sequenceOf(event) ?? event.stream);
    return replayed.some(
      (part) => part.firstSlice <= slice && slice <= part.lastSlice && event.position <= part.position,
    );
  };
}
