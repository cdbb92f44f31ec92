import type { ImportedEvent } from '@refold/core';

/** A source of so many items over 5 streams, numbered in their data. */
export function importItems(count: number): (after: number) => Iterable<ImportedEvent> {
  return function* (after) {
    for (let index = after; index < count; index++) {
      yield { stream: `order-${index % 5}`, type: 'Imported', data: { index } };
    }
  };
}
