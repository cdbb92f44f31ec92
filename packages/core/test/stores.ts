import {
  memoryStore,
  type Clock,
  type Logger,
  type MemoryStore,
  type NewEvent,
  type RecordedEvent,
} from '@refold/core';

/** Waits for nothing, so that tries follow each other at once. */
export const hastyClock: Clock = { now: () => Date.now(), sleep: () => Promise.resolve() };

/** A store that counts the events read from streams. */
export function countingStore(): { store: MemoryStore; reads: () => number } {
  const store = memoryStore();
  const readStream = store.readStream.bind(store);
  let count = 0;
  store.readStream = (stream, options) =>
    readStream(stream, options).map((batch) => {
      count += batch.events.length;
      return batch;
    });
  return {
    store,
    reads: () => {
      const since = count;
      count = 0;
      return since;
    },
  };
}

/** A store where, before each of the next `times` appends, somebody else appends `rival` to the same stream. */
export function contestedStore(rival: NewEvent): { store: MemoryStore; contest: (times: number) => void } {
  const store = memoryStore();
  const append = store.append.bind(store);
  let left = 0;
  store.append = async (stream, events, options) => {
    if (left > 0) {
      left--;
      await append(stream, [rival]);
    }
    return append(stream, events, options);
  };
  return { store, contest: (times) => (left = times) };
}

/** A logger that keeps its warnings. */
export function keptWarnings(): { logger: Logger; warnings: string[] } {
  const warnings: string[] = [];
  return { logger: { info: () => {}, error: () => {}, warn: (message) => warnings.push(message) }, warnings };
}

/** A stored event around some data. */
export function stored(type: string, data: unknown, version = 1): RecordedEvent {
  return {
    id: '018f0000-0000-7000-8000-000000000001',
    type,
    version,
    stream: 'order-42',
    revision: 3,
    position: 7,
    recordedAt: new Date(0),
    metadata: {},
    data,
  };
}

/** What a call throws. Fails if it throws nothing. */
export function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('Expected the call to throw');
}

/** What a promise rejects with. Fails if it does not. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('Expected the promise to reject');
}
