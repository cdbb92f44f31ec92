import {
  EventCodec,
  eventOfMessage,
  type DataOf,
  type EventType,
  type ReceivedMessage,
  type StateUnit,
} from '@refold/core';
import type { Container, Newable } from 'inversify';

/** Answers a message, and writes with nothing but the transaction, in which the message is remembered too. */
export type MessageMethod<T extends EventType> = (
  message: DataOf<T>,
  transaction: StateUnit,
) => Promise<void>;

type Answer = (container: Container, message: unknown, transaction: StateUnit) => Promise<void>;

/** Which messages a service takes, and which methods of its classes answer them. */
export class Reception {
  readonly #types: EventType[] = [];
  readonly #answers = new Map<string, Answer>();
  readonly #desks = new Set<Newable<object>>();
  #codec: EventCodec | undefined;

  /** The classes that answer. */
  get desks(): readonly Newable<object>[] {
    return [...this.#desks];
  }

  on<T extends EventType, Name extends string, Desk extends Readonly<Record<Name, MessageMethod<T>>>>(
    type: T,
    desk: Newable<Desk>,
    method: Name,
  ): this {
    this.#types.push(type);
    this.#desks.add(desk);
    // A codec of one type knows its stored name.
    const [name = ''] = new EventCodec([type]).storedNames([type]);
    this.#answers.set(name, (container, message, transaction) =>
      // The codec has made it an instance of the type.
      container.get(desk)[method](message as DataOf<T>, transaction),
    );
    return this;
  }

  /** @throws UnknownEventTypeError for a message that nobody here takes, and what its method throws */
  async answer(container: Container, message: ReceivedMessage, transaction: StateUnit): Promise<void> {
    this.#codec ??= new EventCodec(this.#types);
    const { type, data } = this.#codec.decode(eventOfMessage(message, 1));
    await this.#answers.get(type)?.(container, data, transaction);
  }
}
