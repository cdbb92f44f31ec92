import type { Message, SendFailure, SendResult, Transport } from '@refold/core';

/** What a script says of a message: it is accepted, or why not. */
export type Script = (message: Message) => unknown;

/** A transport that notes what it accepts, and fails where its script says so, holding back what has the key of a failure. */
export class ScriptedTransport implements Transport {
  readonly name = 'scripted';
  readonly supports = { exactlyOnce: false };
  readonly accepted: Message[] = [];
  /** How many messages each call was given. */
  readonly batches: number[] = [];
  script: Script = () => undefined;
  closed = 0;

  send(batch: readonly Message[]): Promise<SendResult> {
    this.batches.push(batch.length);
    const failures: SendFailure[] = [];
    const failed = new Set<string>();
    batch.forEach((message, index) => {
      if (failed.has(message.key)) return failures.push({ index });
      const error = this.script(message);
      if (error === undefined) return this.accepted.push(message);
      failed.add(message.key);
      return failures.push({ index, error });
    });
    return Promise.resolve({ failures });
  }

  close(): Promise<void> {
    this.closed += 1;
    return Promise.resolve();
  }

  /** The payloads that were accepted, in order. */
  payloads(): unknown[] {
    return this.accepted.map(({ body }) => JSON.parse(Buffer.from(body).toString('utf8')) as unknown);
  }
}
