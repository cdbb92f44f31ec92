import { eventOfMessage, type ReceivedMessage } from '../deliveries/cloud-events.js';
import { DefinitionError } from '../errors.js';
import { EventCodec } from '../events/codec.js';
import type { DataOf, EventType } from '../events/event-type.js';
import type { AroundBatch } from '../processors/around-batch.js';
import { checkIdentifier, withHandler } from '../processors/projection.js';
import type { StateUnit } from '../store/state-store.js';
import type { Inbox, InboxOptions } from './inbox.js';
import { inboxMessage } from './inbox-message.js';
import { UnknownMessageTypeError } from './unknown-message-type-error.js';

/** What can be said of a receiver beside its name, which is that of its inbox. */
export interface ReceiverOptions extends Omit<InboxOptions, 'logger'> {
  /**
   * What becomes of messages of types that it has no handler for. `'reject'`, the default: UnknownMessageTypeError, so that
   * nothing is lost while a type is missing here. `'ignore'`: they are done, for topics that carry more than concerns it.
   */
  readonly unknownTypes?: 'reject' | 'ignore';
}

/** A message whose payload was led to the current version of its type, as its handler gets it. */
export interface ReceivedEvent<Data> {
  readonly id: string;
  /** The name of the type as it is declared here, also where it was sent under an alias. */
  readonly type: string;
  readonly data: Data;
  readonly message: ReceivedMessage;
}

/** What a handler gets beside the message. */
export interface ReceiverContext<Unit extends StateUnit = StateUnit> {
  /** The transaction in which the message is remembered: `{ transaction: unit }` in appends, saves and updates. */
  readonly unit: Unit;
}

/** Handles messages of one type, and writes with nothing but the unit. What it throws undoes all of it. */
export type ReceiverHandler<Data, Unit extends StateUnit> = (
  received: ReceivedEvent<Data>,
  context: ReceiverContext<Unit>,
) => void | Promise<void>;

/**
 * Handles messages by their types, each once in effect however often it arrives: the other side of a delivery. Give it to an
 * application, and what arrives to `application.receive`. Every `on` returns a new receiver.
 */
export class Receiver<Unit extends StateUnit = StateUnit> {
  readonly name: string;
  readonly options: ReceiverOptions;
  readonly eventTypes: readonly EventType[];
  readonly #handlers: ReadonlyMap<string, ReceiverHandler<unknown, Unit>>;
  readonly #codec: EventCodec;

  constructor(
    name: string,
    options: ReceiverOptions = {},
    eventTypes: readonly EventType[] = [],
    handlers: ReadonlyMap<string, ReceiverHandler<unknown, Unit>> = new Map(),
  ) {
    const subject = `Receiver ${JSON.stringify(name)}`;
    checkIdentifier(subject, name);
    if (!['reject', 'ignore', undefined].includes(options.unknownTypes)) {
      throw new DefinitionError(subject, "its unknownTypes must be 'reject' or 'ignore'");
    }
    this.name = name;
    this.options = options;
    this.eventTypes = eventTypes;
    this.#handlers = handlers;
    this.#codec = new EventCodec(eventTypes);
  }

  /** Handles messages of a type. @throws DefinitionError if the type has a handler already */
  on<T extends EventType>(type: T, handler: ReceiverHandler<DataOf<T>, Unit>): Receiver<Unit> {
    const handlers = withHandler(
      `Receiver "${this.name}"`,
      this.#handlers,
      type,
      // The codec hands this handler only messages of its type: the map cannot say so.
      handler as ReceiverHandler<unknown, Unit>,
    );
    return new Receiver(this.name, this.options, [...this.eventTypes, type], handlers);
  }

  /** @internal What was given to `on`. */
  get handlers(): readonly unknown[] {
    return [...this.#handlers.values()];
  }

  /** @internal Handles a message unless it was handled before; true if it was. See `Application.receive`. */
  async receive(message: ReceivedMessage, inbox: Inbox<Unit>, around: AroundBatch<Unit>): Promise<boolean> {
    if (!this.#codec.knows(message.type)) {
      if (this.options.unknownTypes === 'ignore') return false;
      throw new UnknownMessageTypeError(this.name, message.type, message.id, message.source);
    }
    // Outside of the transaction: what cannot be read would only be undone.
    const event = this.#codec.decode(eventOfMessage(message, 1));
    const received = { id: message.id, type: event.type, data: event.data, message };
    const handler = this.#handlers.get(event.type);
    const { duplicate } = await inbox.once(inboxMessage(message.attributes), (unit) =>
      around({ processor: this.name, events: [event], unit }, async () => handler?.(received, { unit })),
    );
    return duplicate;
  }
}

/**
 * Defines a receiver: `receiver('payments').on(OrderPlaced, async ({ data }, { unit }) => …)`. Its name is that of its inbox,
 * and must stay what it is.
 * @throws DefinitionError for a bad name or option
 */
export function receiver<Unit extends StateUnit = StateUnit>(
  name: string,
  options?: ReceiverOptions,
): Receiver<Unit> {
  return new Receiver(name, options);
}
