import type { EventStore, NewEvent, RefoldError } from '@refold/core';
import { assert } from 'chai';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** An event with a new id. */
export function newEvent(overrides: Partial<NewEvent> = {}): NewEvent & { readonly id: string } {
  return { type: 'Happened', data: {}, ...overrides, id: overrides.id ?? randomUUID() };
}

/** So many events with new ids. */
export function newEvents(count: number, overrides: Partial<NewEvent> = {}): (NewEvent & { id: string })[] {
  return Array.from({ length: count }, (_, index) => newEvent({ data: { index }, ...overrides }));
}

/** What a call throws or rejects with; fails if it does not. */
export async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return assert.fail('expected an error');
}

/** The same, of a class and with a code. */
export async function failure<Failed extends RefoldError>(
  type: new (...args: never[]) => Failed,
  code: Failed['code'],
  call: () => unknown,
): Promise<Failed> {
  const error = await thrownBy(call);
  if (!(error instanceof type))
    throw new Error(`expected ${type.name}, got ${String(error)}`, { cause: error });
  assert.equal(error.code, code);
  return error;
}

/** The ids of the log, in its order. */
export async function logIds(store: EventStore): Promise<string[]> {
  return (await store.readAll().toArray()).map(({ id }) => id);
}

/** The ids of one stream, in its order. */
export async function streamIds(store: EventStore, stream: string): Promise<string[]> {
  return (await store.readStream(stream).toArray()).map(({ id }) => id);
}

/** Waits for a condition; mocha's timeout ends it. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(1);
}

/** A promise to be resolved from outside. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Lets the event loop turn so many times. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}
