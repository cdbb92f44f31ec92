import type { Message, SendResult, Transport } from '@refold/core';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** A signal that never aborts. */
export const never: AbortSignal = new AbortController().signal;

/** A message with a new id. */
export function message(
  topic: string,
  {
    key = 'order-1',
    payload = {},
    headers = {},
    body = Buffer.from(JSON.stringify(payload)),
  }: Partial<Message> & {
    readonly payload?: unknown;
  } = {},
): Message {
  const attributes = { specversion: '1.0', id: randomUUID(), source: '/test', type: 'Happened' } as const;
  return {
    ...{ topic, key, headers, body },
    attributes: { ...attributes, datacontenttype: 'application/json', partitionkey: key },
  };
}

/** So many messages, numbered in their payloads, whose keys take turns. */
export function messages(topic: string, count: number, keys: readonly string[] = ['a', 'b', 'c']): Message[] {
  return Array.from({ length: count }, (_, n) =>
    message(topic, { key: keys[n % keys.length], payload: { n } }),
  );
}

/** The ids of messages. */
export function idsOf(list: readonly Message[]): string[] {
  return list.map(({ attributes: { id } }) => id);
}

/** What became of a batch, whether it is told or thrown. */
export async function sent(transport: Transport, batch: readonly Message[]): Promise<SendResult['failures']> {
  try {
    return (await transport.send(batch, never)).failures;
  } catch (error) {
    return batch.map((_, index) => ({ index, error }));
  }
}

/** Sends what is not accepted again, until all is, as a delivery does; mocha's timeout ends it. */
export async function sendUntilAccepted(transport: Transport, batch: readonly Message[]): Promise<void> {
  for (let open = batch; open.length > 0;) {
    const failed = new Set((await sent(transport, open)).map(({ index }) => index));
    open = open.filter((_, index) => failed.has(index));
    if (open.length > 0) await sleep(50);
  }
}

/** Waits for a condition; mocha's timeout ends it. */
export async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await look())) await sleep(5);
}

/** A list without what has come before. */
export function firstOnes<Value>(list: readonly Value[]): Value[] {
  return [...new Set(list)];
}
