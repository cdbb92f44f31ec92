import type { Message, SendResult, Transport } from '@refold/core';

/** A transport that accepts all, when its gate is open, and notes how much it has in hand. */
export class GatedTransport implements Transport {
  readonly name = 'gated';
  readonly supports = { exactlyOnce: false };
  readonly accepted: Message[] = [];
  /** When each batch was accepted, and how many it had. */
  readonly batches: { readonly at: number; readonly count: number }[] = [];
  /** Messages in hand, at most so far. */
  most = 0;
  delayMs = 0;
  #inHand = 0;
  #open: Promise<void> = Promise.resolve();
  #resolve: () => void = () => undefined;

  /** Accepts nothing until `release`. */
  shut(): void {
    this.#open = new Promise((resolve) => (this.#resolve = resolve));
  }

  release(): void {
    this.#resolve();
    this.#open = Promise.resolve();
  }

  async send(batch: readonly Message[], signal: AbortSignal): Promise<SendResult> {
    this.#inHand += batch.length;
    this.most = Math.max(this.most, this.#inHand);
    let stop: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    signal.addEventListener('abort', stop, { once: true });
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    await Promise.race([this.#open, stopped]);
    signal.removeEventListener('abort', stop);
    this.#inHand -= batch.length;
    if (signal.aborted)
      return { failures: batch.map((_, index) => ({ index, error: new Error('stopped') })) };
    this.accepted.push(...batch);
    this.batches.push({ at: performance.now(), count: batch.length });
    return { failures: [] };
  }

  close(): Promise<void> {
    this.release();
    return Promise.resolve();
  }

  /** The numbers that were accepted for a key, in order. */
  numbersOf(key: string): number[] {
    return this.accepted.filter((one) => one.key === key).map(numberOf);
  }
}

export function numberOf({ body }: Message): number {
  return (JSON.parse(Buffer.from(body).toString()) as { number: number }).number;
}
