import { AsyncLocalStorage } from 'node:async_hooks';
import type { EventMetadata, RecordedEvent } from '../store/event-store.js';

const ambient = new AsyncLocalStorage<EventMetadata>();

/**
 * Runs `work` with metadata that every event recorded in it gets, e.g. the correlation id of a request:
 * `withMetadata({ correlationId }, () => orders.update(id, …))`. Inner calls add to outer ones.
 */
export function withMetadata<Result>(metadata: EventMetadata, work: () => Result): Result {
  return ambient.run({ ...ambient.getStore(), ...metadata }, work);
}

/**
 * The metadata of whatever `cause` leads to: its id as the causation id, and its correlation id, or its own id if it
 * began the chain.
 */
export function causedBy(cause: Pick<RecordedEvent, 'id' | 'metadata'>): EventMetadata {
  return { correlationId: cause.metadata.correlationId ?? cause.id, causationId: cause.id };
}

/** Ambient and given metadata together, the given winning; undefined if there is none. */
export function currentMetadata(given?: EventMetadata): EventMetadata | undefined {
  const outer = ambient.getStore();
  return outer && given ? { ...outer, ...given } : (given ?? outer);
}
