import type { Message, MessageAttributes, ReceivedMessage, SendResult, Transport } from '@refold/core';
import { assert } from 'chai';
import { randomUUID } from 'node:crypto';
import { afterEach, it } from 'mocha';
import { setTimeout as sleep } from 'node:timers/promises';

/** A transport under test, with the side that receives. */
export interface OpenedTransport {
  readonly transport: Transport;
  /** What has arrived for a topic until now, in its order within every key, repeats included. */
  readonly received: (topic: string) => Promise<readonly ReceivedMessage[]>;
  /**
   * Makes of a message one that will not be accepted, by its topic, headers or body: its key, id and source stay.
   * Called before the batch is sent.
   */
  readonly rejected?: (message: Message) => Message;
  /** Breaks connections and keeps new ones from being made. */
  readonly break?: () => Promise<void>;
  /** Lets connections be made again; called only after `break`. */
  readonly mend?: () => Promise<void>;
  /** Ends what `open` has made, but for the transport, which the suite closes before. */
  readonly close: () => Promise<void>;
}

/** What a transport may lack by declaration, with the reason. */
export type TransportCapability =
  /** The other side can be made to reject a message. */
  | 'rejecting'
  /** Nothing of a key is accepted in the same batch behind a message that failed. */
  | 'holdingBack'
  /** Connections can be broken. */
  | 'breaking';

/** How the suite gets at a transport. */
export interface TransportHarness {
  /** Names the transport in the titles of the tests. */
  readonly name: string;
  /** Opens a transport that can send to these topics, which are new: lower-case letters, digits and hyphens. */
  open(topics: readonly string[]): Promise<OpenedTransport>;
  /** Why the transport lacks something: the tests that need it are shown as skipped, with the reason. */
  readonly lacks?: Readonly<Partial<Record<TransportCapability, string>>>;
}

/** A transport that a test uses, and a topic of the test's own. */
export interface Fixture extends OpenedTransport {
  readonly topic: string;
  readonly other: string;
}

/** Opens a transport for a test, and closes it when the test is over. To be called inside `describe`. */
export function useTransports({ open }: Pick<TransportHarness, 'open'>): () => Promise<Fixture> {
  const opened: OpenedTransport[] = [];
  afterEach(async () => {
    for (const one of opened.splice(0)) {
      await one.transport.close();
      await one.close();
    }
  });
  return async () => {
    const place = randomUUID().slice(0, 8);
    const [topic, other] = [`orders-${place}`, `invoices-${place}`];
    const one = await open([topic, other]);
    opened.push(one);
    return { ...one, topic, other };
  };
}

/** Declares a test that needs something of the transport; where that is lacking, a skipped test that says why. */
export function itCan(
  { lacks = {} }: TransportHarness,
  needed: TransportCapability,
  title: string,
  body: () => Promise<void>,
): void {
  if (lacks[needed] === undefined) it(title, body);
  else it(`${title} (does not apply, no ${needed}: ${lacks[needed]})`);
}

let sent = 0;

/** A message with a new id and a sequence that grows from call to call. */
export function newMessage(
  topic: string,
  {
    key = 'order-1',
    payload = { amount: 7 },
    body = Buffer.from(JSON.stringify(payload)),
    headers = {},
    attributes = {},
  }: {
    readonly key?: string;
    readonly payload?: unknown;
    readonly body?: Uint8Array;
    readonly headers?: Message['headers'];
    readonly attributes?: Partial<MessageAttributes>;
  } = {},
): Message {
  return {
    ...{ topic, key, headers, body },
    attributes: {
      specversion: '1.0',
      id: randomUUID(),
      source: '/conformance',
      type: 'OrderPlaced',
      subject: key,
      time: '2026-01-02T03:04:05.678Z',
      datacontenttype: 'application/json',
      partitionkey: key,
      sequence: String(sent++).padStart(16, '0'),
      ...attributes,
    },
  };
}

/** So many messages whose keys take turns. */
export function newMessages(topic: string, count: number, keys: readonly string[]): Message[] {
  return Array.from({ length: count }, (_, index) =>
    newMessage(topic, { key: keys[index % keys.length], payload: { index } }),
  );
}

/** A signal that never aborts. */
export const never: AbortSignal = new AbortController().signal;

/** Sends messages, all of which must be accepted. */
export async function accepted(transport: Transport, batch: readonly Message[]): Promise<void> {
  const { failures } = await transport.send(batch, never);
  const [first] = failures;
  if (first)
    throw new Error(`message ${first.index} of ${batch.length} was not accepted`, { cause: first.error });
}

/** What became of a batch, a call that rejects included: all of it has failed then. */
export async function resultOf(
  transport: Transport,
  batch: readonly Message[],
  signal: AbortSignal = never,
): Promise<SendResult> {
  try {
    return await transport.send(batch, signal);
  } catch (error) {
    return { failures: batch.map((_, index) => ({ index, error })) };
  }
}

/** Sends what is not accepted again, until all is; mocha's timeout ends it. */
export async function sendUntilAccepted(transport: Transport, batch: readonly Message[]): Promise<void> {
  let open = batch;
  while (open.length > 0) {
    const { failures } = await resultOf(transport, open);
    const failed = new Set(failures.map(({ index }) => index));
    open = open.filter((_, index) => failed.has(index));
    if (open.length > 0) await sleep(20);
  }
}

/** What has arrived for a topic as soon as it is so many messages; mocha's timeout ends the wait. */
export async function arrived(
  { received }: Pick<OpenedTransport, 'received'>,
  topic: string,
  count: number,
): Promise<readonly ReceivedMessage[]> {
  for (;;) {
    const messages = await received(topic);
    if (messages.length >= count) return messages;
    await sleep(5);
  }
}

/** Like `arrived`, but counts every message once, however often it has come. */
export async function arrivedOnce(
  opened: Pick<OpenedTransport, 'received'>,
  topic: string,
  count: number,
): Promise<ReceivedMessage[]> {
  for (let least = count; ; least++) {
    const all = await arrived(opened, topic, least);
    const seen = new Set<string>();
    const first = all.filter(({ id }) => !seen.has(id) && seen.add(id));
    if (first.length >= count) return first;
    least = Math.max(least, all.length);
  }
}

/** That the messages are those that were sent, each once, and in their order within every key. */
export function assertInOrder(received: readonly ReceivedMessage[], messages: readonly Message[]): void {
  assert.equal(received.length, messages.length, 'messages that have arrived');
  assert.deepEqual(
    idsByKey(received.map(({ id, key }) => ({ id, key }))),
    idsByKey(messages.map(({ key, attributes: { id } }) => ({ id, key }))),
  );
}

function idsByKey(messages: readonly { id: string; key: string }[]): Record<string, string[]> {
  const keys = [...new Set(messages.map(({ key }) => key))].sort();
  return Object.fromEntries(
    keys.map((key) => [key, messages.filter((one) => one.key === key).map(({ id }) => id)]),
  );
}
