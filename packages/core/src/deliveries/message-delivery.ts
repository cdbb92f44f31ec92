import { DefinitionError } from '../errors.js';
import type { DataOf, EventType } from '../events/event-type.js';
import type { ErrorPolicy } from '../processors/error-policy.js';
import type { Guarantee, Processor, ProcessorHandler } from '../processors/processor.js';
import { checkProcessor, withHandler } from '../processors/projection.js';
import type { EventStore, RecordedEvent } from '../store/event-store.js';
import { categoryOf } from '../store/prepare-append.js';
import type { SliceRange } from '../store/processor-state.js';
import type { Collection } from '../store/state-store.js';
import { checkSubscriber, errorDefaults, startAfter, type SubscriberOptions } from './delivery-options.js';
import { flowSettings, type FlowSettings } from './flow/flow-settings.js';
import { ExactlyOnceMessages } from './exactly-once-messages.js';
import type { OutgoingMessage } from './message.js';
import { MessageHandler } from './message-handler.js';
import { messagesOf } from './messages.js';
import type { Message } from './message.js';
import type { Transport } from './transport.js';

/** What can be said of a delivery that sends messages, beside its name. */
export interface MessageDeliveryOptions extends SubscriberOptions {
  /** How messages get to the subscriber. The application closes it with itself. */
  readonly transport: Transport;
  /** Where messages go: always there, or where the event says. Default: the category of its stream. */
  readonly topic?: string | ((event: RecordedEvent) => string);
  /** The attribute `source`, a URI reference. Default: the delivery's name behind a slash. */
  readonly source?: string;
  /**
   * Of messages with the same topic and key that are sent together, only the newest is; the others are left out and counted.
   * For subscribers that want to know how things are, not what happened. Only with `'atLeastOnce'`. Default false.
   */
  readonly coalesce?: boolean;
}

/** What a mapping is told beside the event. */
export interface MappingContext {
  /** Whether the event was delivered before, and is sent again by a reset, a rebuild or a replay. */
  readonly replaying: boolean;
}

/** What a mapping returns: one message, several, or nothing to send. */
export type Mapped = OutgoingMessage | readonly OutgoingMessage[] | undefined;

/** Makes messages of an event. It may be asked again for the same event, and must then answer the same. */
export type MessageMapping<Data> = (
  event: RecordedEvent<Data>,
  context: MappingContext,
) => Mapped | Promise<Mapped>;

/**
 * A processor that sends events as messages, in order within every key. What is not accepted becomes a dead letter, which
 * holds back only its own sequence. Every `on` returns a new delivery.
 */
export class MessageDelivery implements Processor {
  readonly name: string;
  readonly version = 1;
  readonly mode = 'async';
  readonly guarantee: Guarantee;
  readonly partitions: number;
  readonly errors: ErrorPolicy;
  readonly flow: FlowSettings;
  readonly eventTypes: readonly EventType[];
  readonly everyType: boolean;
  readonly categories: readonly string[] | undefined;
  readonly collections: readonly Collection[] = [];
  readonly transport: Transport;
  readonly #options: MessageDeliveryOptions;
  readonly #mappings: ReadonlyMap<string, MessageMapping<unknown>>;
  readonly #everyMapping: MessageMapping<unknown> | undefined;

  constructor(
    name: string,
    options: MessageDeliveryOptions,
    eventTypes: readonly EventType[] = [],
    mappings: ReadonlyMap<string, MessageMapping<unknown>> = new Map(),
    everyMapping?: MessageMapping<unknown>,
  ) {
    const { guarantee = 'atLeastOnce', transport } = options;
    const subject = `Delivery ${JSON.stringify(name)}`;
    checkSubscriber(subject, options);
    checkTransport(subject, transport, guarantee);
    if (options.coalesce && guarantee !== 'atLeastOnce') {
      throw new DefinitionError(subject, "coalesce is only for guarantee: 'atLeastOnce'");
    }
    const checked = checkProcessor(subject, name, options, errorDefaults(guarantee));
    this.name = checked.name;
    this.guarantee = guarantee;
    this.partitions = checked.partitions;
    this.errors = checked.errors;
    this.flow = flowSettings(subject, options);
    this.eventTypes = eventTypes;
    this.everyType = everyMapping !== undefined;
    this.categories = options.categories;
    this.transport = transport;
    this.#options = options;
    this.#mappings = mappings;
    this.#everyMapping = everyMapping;
  }

  /**
   * Sends events of a type: as the mapping says, or each with its data as the payload.
   * @throws DefinitionError if the type has a mapping already
   */
  on<T extends EventType>(type: T, mapping: MessageMapping<DataOf<T>> = asItIs): MessageDelivery {
    const mappings = withHandler(
      `Delivery "${this.name}"`,
      this.#mappings,
      type,
      // The codec hands this mapping only events of its type: the map cannot say so.
      mapping as MessageMapping<unknown>,
    );
    return new MessageDelivery(
      this.name,
      this.#options,
      [...this.eventTypes, type],
      mappings,
      this.#everyMapping,
    );
  }

  /**
   * Sends events of all types that the application knows and that have no mapping of their own, now and in later versions
   * of it. @throws DefinitionError if it is said twice
   */
  onEvery(mapping: MessageMapping<unknown> = asItIs): MessageDelivery {
    if (this.#everyMapping) throw new DefinitionError(`Delivery "${this.name}"`, 'onEvery is said twice');
    return new MessageDelivery(this.name, this.#options, this.eventTypes, this.#mappings, mapping);
  }

  /** @internal What was given to `on`. */
  get handlers(): readonly unknown[] {
    return [...this.#mappings.values(), this.#everyMapping];
  }

  /** @internal */
  startAfter(log: Pick<EventStore, 'head' | 'readAll'>): Promise<number> {
    return startAfter(this.#options.startAt ?? 'beginning', log);
  }

  /** @internal */
  wants(event: RecordedEvent): boolean {
    return this.#options.where?.(event) ?? true;
  }

  /** @internal */
  sequenceOf(event: RecordedEvent): string {
    return this.#options.sequence?.(event) ?? event.stream;
  }

  /** @internal */
  handler(generation: number, slices: SliceRange = { firstSlice: 0, lastSlice: 1023 }): ProcessorHandler {
    const mapped = (event: RecordedEvent, replaying: boolean): Promise<readonly Message[]> =>
      this.#messagesOf(event, replaying);
    if (this.guarantee !== 'exactlyOnce') {
      return new MessageHandler(this.transport, mapped, this.#options.coalesce);
    }
    const { firstSlice, lastSlice } = slices;
    return new ExactlyOnceMessages(
      this.transport,
      { delivery: this.name, generation, firstSlice, lastSlice },
      mapped,
      (event) => this.sequenceOf(event),
    );
  }

  async #messagesOf(event: RecordedEvent, replaying: boolean): Promise<readonly Message[]> {
    const { where, topic = ({ stream }) => categoryOf(stream), source = `/${this.name}` } = this.#options;
    const mapping = this.#mappings.get(event.type) ?? this.#everyMapping;
    if (!mapping || (where && !where(event))) return [];
    const mapped = await mapping(event, { replaying });
    if (mapped === undefined) return [];
    return messagesOf(event, isList(mapped) ? mapped : [mapped], replaying, {
      source,
      topic: typeof topic === 'string' ? () => topic : topic,
      key: (one) => this.sequenceOf(one),
    });
  }
}

function asItIs({ data }: RecordedEvent): OutgoingMessage {
  return { payload: data };
}

function isList(mapped: OutgoingMessage | readonly OutgoingMessage[]): mapped is readonly OutgoingMessage[] {
  return Array.isArray(mapped);
}

function checkTransport(subject: string, transport: Transport, guarantee: Guarantee): void {
  if (typeof transport?.send !== 'function') {
    throw new DefinitionError(subject, 'its transport must be one, with send and close');
  }
  if (guarantee === 'exactlyOnce' && !transport.supports.exactlyOnce) {
    throw new DefinitionError(
      subject,
      `${transport.name} cannot send exactly once: send 'atLeastOnce', and let the receiver leave out repeats by an inbox`,
    );
  }
}
