import { DefinitionError } from '../errors.js';
import { causedBy, withMetadata } from '../events/correlation.js';
import type { DataOf, EventType } from '../events/event-type.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { Collection, StateUnit } from '../store/state-store.js';
import type { ErrorPolicy } from './error-policy.js';
import {
  HandlerError,
  type Guarantee,
  type HandlingContext,
  type Processor,
  type ProcessorHandler,
} from './processor.js';
import {
  checkProcessor,
  replayContext,
  withHandler,
  type ProcessorOptions,
  type SequenceKey,
} from './projection.js';

/** What can be said of a delivery beside its name. */
export interface DeliveryOptions extends ProcessorOptions {
  /**
   * What its handlers' effects are promised. Default `'atLeastOnce'`. With `'exactlyOnce'` they get the transaction that
   * moves the checkpoint, and write with nothing else. With `'atMostOnce'` a failing event is not tried again.
   */
  readonly guarantee?: Guarantee;
  /** The sequence of an event. Default: its stream. */
  readonly sequence?: SequenceKey;
}

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
  readonly eventTypes: readonly EventType[];
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
    checkGuarantee(subject, guarantee, options);
    const once = guarantee === 'atMostOnce';
    const defaults = once
      ? ({ onError: 'skip', maxAttempts: 1 } as const)
      : ({ onError: 'park', maxAttempts: 5 } as const);
    const checked = checkProcessor(subject, name, options, defaults);
    this.name = checked.name;
    this.guarantee = guarantee;
    this.partitions = checked.partitions;
    this.errors = checked.errors;
    this.eventTypes = eventTypes;
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
      if (!handler) continue;
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
 * `delivery('welcome-mails').on(CustomerJoined, ({ data }) => mailer.welcome(data.address))`.
 * @throws DefinitionError for a bad name or option
 */
export function delivery<Unit extends StateUnit = StateUnit>(
  name: string,
  options: DeliveryOptions = {},
): Delivery<Unit> {
  return new Delivery<Unit>(name, options);
}

function checkGuarantee(subject: string, guarantee: Guarantee, { onError, retry }: DeliveryOptions): void {
  if (!['exactlyOnce', 'atLeastOnce', 'atMostOnce'].includes(guarantee)) {
    const message = `its guarantee must be 'exactlyOnce', 'atLeastOnce' or 'atMostOnce', got ${String(guarantee)}`;
    throw new DefinitionError(subject, message);
  }
  if (guarantee !== 'atMostOnce') return;
  if (onError === 'park') {
    throw new DefinitionError(
      subject,
      "at most once cannot be parked, since a retry may be the second time: onError 'skip' or 'stop'",
    );
  }
  if ((retry?.maxAttempts ?? 1) > 1) {
    throw new DefinitionError(subject, 'at most once cannot be retried: leave retry out');
  }
}
