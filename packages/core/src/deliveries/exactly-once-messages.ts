import { HandlerError, type EffectHandler, type HandlingContext } from '../processors/processor.js';
import type { RecordedEvent } from '../store/event-store.js';
import { sliceOf } from '../store/slices.js';
import { mapEvents, type MapEvent, type MappedBatch } from './message-handler.js';
import type { ExactlyOnceSender, Subscription, Transport } from './transport.js';
import { MessageRejectedError, TransportUnavailableError } from './transport-errors.js';

/**
 * Sends the messages of one partition's events exactly once: the transport keeps their position with them, and tells after
 * a crash what it has. The checkpoint follows, and may be behind.
 */
export class ExactlyOnceMessages implements EffectHandler {
  readonly #transport: Transport;
  readonly #subscription: Subscription;
  readonly #map: MapEvent;
  readonly #sequenceOf: (event: RecordedEvent) => string;
  readonly #never = new AbortController().signal;
  #sender: ExactlyOnceSender | undefined;

  constructor(
    transport: Transport,
    subscription: Subscription,
    map: MapEvent,
    sequenceOf: (event: RecordedEvent) => string,
  ) {
    this.#transport = transport;
    this.#subscription = subscription;
    this.#map = map;
    this.#sequenceOf = sequenceOf;
  }

  async handle(events: readonly RecordedEvent[], context: HandlingContext): Promise<void> {
    const [first] = events;
    if (!first) return;
    const signal = context.signal ?? this.#never;
    const sender = await this.#opened(first, signal);
    const fresh = events.filter((event) => !sender.has(this.#placeOf(event)));
    const batch = await mapEvents(fresh, context, this.#map);
    await this.#send(sender, batch, signal);
    context.flow?.sent(batch.outgoing.length);
    if (batch.failure) throw batch.failure;
  }

  async close(): Promise<void> {
    const sender = this.#sender;
    this.#sender = undefined;
    await sender?.close();
  }

  async #opened(first: RecordedEvent, signal: AbortSignal): Promise<ExactlyOnceSender> {
    if (this.#sender) return this.#sender;
    const { name } = this.#transport;
    try {
      const sender = await this.#transport.open?.(this.#subscription, signal);
      if (!sender) throw new TransportUnavailableError(name, 'it cannot send exactly once');
      return (this.#sender = sender);
    } catch (cause) {
      throw new HandlerError(first, cause);
    }
  }

  /** Sends what can be sent: behind a message that is not accepted, nothing. */
  async #send(
    sender: ExactlyOnceSender,
    { outgoing, failure }: MappedBatch,
    signal: AbortSignal,
  ): Promise<void> {
    const last = outgoing.at(-1);
    if (!last) return;
    const messages = outgoing.map(({ message }) => message);
    const through = failure ? Math.min(last.event.position, failure.event.position - 1) : last.event.position;
    try {
      await sender.send(messages, through, signal);
    } catch (error) {
      const index = error instanceof MessageRejectedError ? (error.index ?? 0) : 0;
      const rejected = outgoing[index] ?? last;
      // An event's messages are accepted together, or not at all.
      const before = outgoing.filter(({ event }) => event.position < rejected.event.position);
      if (!(error instanceof MessageRejectedError)) await this.close().catch(() => undefined);
      else if (before.length > 0) await this.#send(sender, { outgoing: before, failure: undefined }, signal);
      throw new HandlerError(rejected.event, error);
    }
  }

  #placeOf(event: RecordedEvent): { slice: number; position: number } {
    return { slice: sliceOf(this.#sequenceOf(event)), position: event.position };
  }
}
