import type { ReceivedMessage } from '../deliveries/cloud-events.js';
import { InvalidArgumentError } from '../errors.js';
import type { AroundBatch } from '../processors/around-batch.js';
import type { StateUnit } from '../store/state-store.js';
import type { Inbox, InboxOptions } from './inbox.js';
import type { Receiver } from './receiver.js';

/** What receivers get of their application. */
export interface ReceiversContext<Unit extends StateUnit> {
  readonly inbox: (name: string, options: InboxOptions) => Inbox<Unit>;
  readonly aroundBatch: AroundBatch<Unit> | undefined;
}

/** The receivers of an application, each with its inbox. */
export class Receivers<Unit extends StateUnit> {
  readonly #receivers: readonly Receiver<Unit>[];
  readonly #context: ReceiversContext<Unit>;
  readonly #inboxes = new Map<string, Inbox<Unit>>();

  constructor(receivers: readonly Receiver<Unit>[], context: ReceiversContext<Unit>) {
    this.#receivers = receivers;
    this.#context = context;
  }

  /** True if the message is a repeat. @throws like `Application.receive` */
  receive(receiver: Receiver<Unit> | string, message: ReceivedMessage): Promise<boolean> {
    const own = this.#receivers.find((one) => one === receiver || one.name === receiver);
    if (!own) {
      const name = typeof receiver === 'string' ? receiver : receiver.name;
      throw new InvalidArgumentError('receiver', name, 'must be among the receivers of the application');
    }
    return own.receive(message, this.#inboxOf(own), this.#context.aroundBatch ?? asItIs);
  }

  #inboxOf({ name, options }: Receiver<Unit>): Inbox<Unit> {
    const known = this.#inboxes.get(name);
    if (known) return known;
    const inbox = this.#context.inbox(name, options);
    this.#inboxes.set(name, inbox);
    return inbox;
  }
}

function asItIs<Result>(_: unknown, work: () => Promise<Result>): Promise<Result> {
  return work();
}
