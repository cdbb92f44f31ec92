import type { EventReader, EventStore, NewEvent, RecordedEvent, RefoldError } from '@refold/core';
import { assert } from 'chai';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** An event with a new id. */
export function newEvent(overrides: Partial<NewEvent> = {}): NewEvent & { readonly id: string } {
  return { type: 'Happened', data: {}, ...overrides, id: overrides.id ?? randomUUID() };
}

/** So many events with new ids, numbered in their data. */
export function newEvents(count: number, overrides: Partial<NewEvent> = {}): (NewEvent & { id: string })[] {
  return Array.from({ length: count }, (_, index) => newEvent({ data: { index }, ...overrides }));
}

/** The error that a call ends with, thrown or rejected; anything but the given class and code fails the test. */
export async function failure<Failed extends RefoldError>(
  type: new (...args: never[]) => Failed,
  code: Failed['code'],
  call: () => unknown,
): Promise<Failed> {
  const error = await outcome(call);
  if (!(error instanceof type)) throw unexpected(type.name, error);
  assert.equal(error.code, code);
  assert.isNotEmpty(error.message);
  return error;
}

/** Whatever a call throws or rejects with. */
export async function outcome(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Waits for a condition; mocha's timeout ends it. */
export async function until<Value>(look: () => Promise<Value | undefined | false>): Promise<Value> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await sleep(2);
  }
}

/** Lets everything else have a turn, as a loop must whose store never waits for anything outside the process. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A promise to be resolved from outside. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** The whole log. */
export function logOf(store: EventStore): Promise<RecordedEvent[]> {
  return store.readAll().toArray();
}

/** The ids of a read, in its order. */
export async function idsOf(reader: EventReader): Promise<string[]> {
  return (await reader.toArray()).map(({ id }) => id);
}

/** The ids of the whole log, in its order. */
export function logIds(store: EventStore): Promise<string[]> {
  return idsOf(store.readAll());
}

/** That a log is whole: positions grow, and every stream's revisions count from 0. */
export function assertWholeLog(log: readonly RecordedEvent[]): void {
  const revisions = new Map<string, number>();
  let position = 0;
  for (const event of log) {
    assert.isAbove(event.position, position, 'positions grow');
    position = event.position;
    assert.equal(event.revision, (revisions.get(event.stream) ?? -1) + 1, `revisions of ${event.stream}`);
    revisions.set(event.stream, event.revision);
  }
  assert.equal(new Set(log.map(({ id }) => id)).size, log.length, 'no id comes twice');
}

/** What became of several calls: the values of those that succeeded and the errors of the others. */
export async function settled<Value>(
  calls: readonly Promise<Value>[],
): Promise<{ readonly values: Value[]; readonly errors: unknown[] }> {
  const all = await Promise.allSettled(calls);
  return {
    values: all.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])),
    errors: all.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : [])),
  };
}

function unexpected(wanted: string, error: unknown): Error {
  if (error === undefined) return new Error(`expected ${wanted}, but it succeeded`);
  const got = error instanceof Error ? `${error.name}: ${error.message}` : typeof error;
  return new Error(`expected ${wanted}, got ${got}`, { cause: error });
}
