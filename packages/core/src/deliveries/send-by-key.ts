import { setMaxListeners } from 'node:events';
import type { Message } from './message.js';
import type { Slots } from './slots.js';
import type { SendFailure, SendResult } from './transport.js';
import { TransportUnavailableError } from './transport-errors.js';

/** How the messages of a batch are sent one by one. */
export interface SendByKeyOptions {
  /** The transport's name, for errors. */
  readonly transport: string;
  /** Bounds how many messages are under way at once, over all batches that share it. */
  readonly slots: Slots;
  /** When it aborts, no further message is begun. */
  readonly signal: AbortSignal;
  /** Resolves when the message is accepted. */
  readonly send: (message: Message) => Promise<void>;
}

/**
 * Sends a batch message by message: those of one key one after the other, those of different keys at once. Behind a message
 * that fails, the rest of its key is not tried. This is what a transport needs whose other side takes single messages.
 */
export async function sendByKey(
  batch: readonly Message[],
  { transport, slots, signal, send }: SendByKeyOptions,
): Promise<SendResult> {
  const failures: SendFailure[] = [];
  const chains = chainsOf(batch).values();
  const over = new AbortController();
  // Each of those who wait for a slot listens to it.
  setMaxListeners(0, over.signal);
  const stop = (): void => over.abort();
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });

  const sendOne = async (index: number): Promise<void> => {
    const message = batch[index];
    if (!message) return;
    if (!(await slots.take(over.signal))) {
      throw new TransportUnavailableError(transport, 'told to stop before the message was sent');
    }
    try {
      await send(message);
    } finally {
      slots.release();
    }
  };
  const sendChain = async (chain: readonly number[]): Promise<void> => {
    for (const [place, index] of chain.entries()) {
      try {
        await sendOne(index);
      } catch (error) {
        failures.push({ index, error });
        for (const behind of chain.slice(place + 1)) failures.push({ index: behind });
        return;
      }
    }
  };
  const runner = async (): Promise<void> => {
    for (const chain of chains) await sendChain(chain);
  };

  try {
    await Promise.all(Array.from({ length: Math.min(slots.count, batch.length) }, runner));
  } finally {
    signal.removeEventListener('abort', stop);
  }
  return { failures: failures.sort((one, other) => one.index - other.index) };
}

/** The places of the messages of each key, in the order in which the keys first come. */
function chainsOf(batch: readonly Message[]): number[][] {
  const chains = new Map<string, number[]>();
  batch.forEach(({ key }, index) => {
    const chain = chains.get(key);
    if (chain) chain.push(index);
    else chains.set(key, [index]);
  });
  return [...chains.values()];
}
