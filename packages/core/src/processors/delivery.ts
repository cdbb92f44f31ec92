import { DefinitionError } from '../errors.js';
import { causedBy, withMetadata } from '../events/correlation.js';
import type { DataOf, EventType } from '../events/event-type.js';
import {
  checkSubscriber,
  errorDefaults,
  startAfter,
  type SubscriberOptions,
} from '../deliveries/delivery-options.js';
import { flowSettings, type FlowSettings } from '../deliveries/flow/flow-settings.js';
import { MessageDelivery, type MessageDeliveryOptions } from '../deliveries/message-delivery.js';
import type { EventStore, RecordedEvent } from '../store/event-store.js';
import type { Collection, StateUnit } from '../store/state-store.js';
import type { ErrorPolicy } from './error-policy.js';
import {
  HandlerError,
  type Guarantee,
  type HandlingContext,
  type Processor,
  type ProcessorHandler,
} from './processor.js';
import { checkProcessor, replayContext, withHandler } from './projection.js';

/**
 * What can be said of a delivery to handlers beside its name. With the guarantee `'exactlyOnce'` they get the transaction
 * that moves the checkpoint, and write with nothing else.
 */
export type DeliveryOptions = SubscriberOptions;

/** What a delivery's handler gets beside the event. */
export interface DeliveryContext<Unit extends StateUnit = StateUnit> {
  /** The transaction that also moves the checkpoint. @throws DefinitionError unless the guarantee is `exactlyOnce` */
  readonly unit: Unit;
  /** Whether the event was delivered before, by an earlier generation, and is being replayed. */
  readonly replaying: boolean;
  /** Does what must not be done again in a replay. */
  readonly effect: (work: () => void | Promise<void>) => Promise<void>;
}

/** Handles one event of a delivery; what it throws is retried, then parked, unless the options say otherwise. */
export type DeliveryHandler<Data, Unit extends StateUnit> = (
  event: RecordedEvent<Data>,
  context: DeliveryContext<Unit>,
) => void | Promise<void>;

/**
 * A processor that hands events to a subscriber in this process, in order within every sequence. Events that go on failing
 * become dead letters, which hold back only their own sequence. Every `on` returns a new delivery.
 */
export class Delivery<Unit extends StateUnit = StateUnit> implements Processor<Unit> {
  readonly name: string;
  readonly version = 1;
  readonly mode = 'async';
  readonly guarantee: Guarantee;
  readonly partitions: number;
  readonly errors: ErrorPolicy;
  readonly flow: FlowSettings;
  readonly eventTypes: readonly EventType[];
  readonly categories: readonly string[] | undefined;
  readonly collections: readonly Collection[] = [];
  readonly #options: DeliveryOptions;
  readonly #handlers: ReadonlyMap<string, DeliveryHandler<unknown, Unit>>;

  constructor(
    name: string,
    options: DeliveryOptions = {},
    eventTypes: readonly EventType[] = [],
    handlers: ReadonlyMap<string, DeliveryHandler<unknown, Unit>> = new Map(),
  ) {
    const { guarantee = 'atLeastOnce' } = options;
    const subject = `Delivery ${JSON.stringify(name)}`;
    checkSubscriber(subject, options);
    const checked = checkProcessor(subject, name, options, errorDefaults(guarantee));
    this.name = checked.name;
    this.guarantee = guarantee;
    this.partitions = checked.partitions;
    this.errors = checked.errors;
    this.flow = flowSettings(subject, options);
    this.eventTypes = eventTypes;
    this.categories = options.categories;
    this.#options = options;
    this.#handlers = handlers;
  }

  /** Handles events of a type, one after the other. @throws DefinitionError if the type has a handler already */
  on<T extends EventType>(type: T, handler: DeliveryHandler<DataOf<T>, Unit>): Delivery<Unit> {
    const handlers = withHandler(
      `Delivery "${this.name}"`,
      this.#handlers,
      type,
      // The codec hands this handler only events of its type: the map cannot say so.
      handler as DeliveryHandler<unknown, Unit>,
    );
    return new Delivery(this.name, this.#options, [...this.eventTypes, type], handlers);
  }

  /** @internal What was given to `on`. */
  get handlers(): readonly unknown[] {
    return [...this.#handlers.values()];
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
  handler(): ProcessorHandler<Unit> {
    if (this.guarantee !== 'exactlyOnce') {
      const { name } = this;
      return {
        handle: (events, context) =>
          this.#handleAll(events, context, () => {
            throw new DefinitionError(
              `Delivery "${name}"`,
              "its handlers have no unit: declare guarantee: 'exactlyOnce'",
            );
          }),
      };
    }
    return {
      prepare: (events, _, context) =>
        Promise.resolve((unit) => this.#handleAll(events, context, () => unit)),
      firstBatch: 100,
      reset: () => {},
    };
  }

  async #handleAll(
    events: readonly RecordedEvent[],
    { isReplay }: HandlingContext,
    unit: () => Unit,
  ): Promise<void> {
    for (const event of events) {
      const handler = this.#handlers.get(event.type);
      if (!handler || this.#options.where?.(event) === false) continue;
      const context = {
        ...replayContext(isReplay(event)),
        get unit() {
          return unit();
        },
      };
      try {
        await withMetadata(causedBy(event), () => handler(event, context));
      } catch (cause) {
        throw new HandlerError(event, cause);
      }
    }
  }
}

/**
 * Declares a delivery to handlers in this process:
 * `delivery('welcome_mails').on(CustomerJoined, ({ data }) => mailer.welcome(data.address))`.
 * @throws DefinitionError for a bad name or option
 */
export function delivery<Unit extends StateUnit = StateUnit>(
  name: string,
  options?: DeliveryOptions & { readonly transport?: undefined },
): Delivery<Unit>;
/**
 * Declares a delivery that sends messages:
 * `delivery('orders_out', { transport }).on(OrderPlaced).on(OrderPaid, ({ data }) => ({ payload: data.amount }))`.
 * @throws DefinitionError for a bad name or option
 */
export function delivery(name: string, options: MessageDeliveryOptions): MessageDelivery;
export function delivery(
  name: string,
  options: DeliveryOptions | MessageDeliveryOptions = {},
): Delivery | MessageDelivery {
  return sendsMessages(options) ? new MessageDelivery(name, options) : new Delivery(name, options);
}

function sendsMessages(options: DeliveryOptions | MessageDeliveryOptions): options is MessageDeliveryOptions {
  return 'transport' in options && options.transport !== undefined;
}
