import { HandlerError, type EffectHandler, type HandlingContext } from '../processors/processor.js';
import type { RecordedEvent } from '../store/event-store.js';
import type { Message } from './message.js';
import type { SendFailure, Transport } from './transport.js';
import { TransportUnavailableError } from './transport-errors.js';

/** Makes the messages of an event, which may be none. */
export type MapEvent = (event: RecordedEvent, replaying: boolean) => Promise<readonly Message[]>;

/** A message and the event that it was made of. */
interface Outgoing {
  readonly event: RecordedEvent;
  readonly message: Message;
}

/** The events of a batch as messages, as far as they could be mapped. */
export interface MappedBatch {
  readonly outgoing: readonly Outgoing[];
  /** The event that could not be mapped, behind all the others. */
  readonly failure: HandlerError | undefined;
}

/** Maps events until one fails. */
export async function mapEvents(
  events: readonly RecordedEvent[],
  { isReplay }: HandlingContext,
  map: MapEvent,
): Promise<MappedBatch> {
  const outgoing: Outgoing[] = [];
  for (const event of events) {
    try {
      for (const message of await map(event, isReplay(event))) outgoing.push({ event, message });
    } catch (cause) {
      return { outgoing, failure: new HandlerError(event, cause) };
    }
  }
  return { outgoing, failure: undefined };
}

/**
 * Sends the messages of one partition's events. What was accepted behind a message that failed is remembered, and not sent
 * again when the events behind that one come round: only a crash repeats them.
 */
export class MessageHandler implements EffectHandler {
  readonly #transport: Transport;
  readonly #map: MapEvent;
  readonly #accepted = new Set<Message['attributes']['id']>();
  readonly #coalesce: boolean;
  readonly #never = new AbortController().signal;

  constructor(transport: Transport, map: MapEvent, coalesce = false) {
    this.#coalesce = coalesce;
    this.#transport = transport;
    this.#map = map;
  }

  async handle(events: readonly RecordedEvent[], context: HandlingContext): Promise<void> {
    const { outgoing: mapped, failure } = await mapEvents(events, context, this.#map);
    const outgoing = this.#coalesce ? newestOf(mapped) : mapped;
    const open = outgoing.filter(({ message }) => !this.#accepted.has(message.attributes.id));
    const failures = open.length > 0 ? await this.#send(open, context.signal ?? this.#never) : [];
    const [first] = failures;
    const failed = first && open[first.index];
    this.#remember(outgoing, open, failures, failed);
    context.flow?.sent(open.length - failures.length);
    const done = failed?.event.position ?? Infinity;
    const kept = new Set(outgoing);
    const dropped = mapped.filter((one) => one.event.position < done && !kept.has(one));
    context.flow?.count('coalesced', dropped.length);
    if (failed) throw new HandlerError(failed.event, first.error);
    if (failure) throw failure;
  }

  async #send(open: readonly Outgoing[], signal: AbortSignal): Promise<readonly SendFailure[]> {
    try {
      const { failures } = await this.#transport.send(
        open.map(({ message }) => message),
        signal,
      );
      return [...failures].sort((one, other) => one.index - other.index);
    } catch (cause) {
      const error = signal.aborted
        ? new TransportUnavailableError(this.#transport.name, 'told to stop before it was done', { cause })
        : cause;
      return open.map((_, index) => ({ index, error }));
    }
  }

  /** What is accepted and comes round again: all that belongs to the event that failed, or lies behind it. */
  #remember(
    outgoing: readonly Outgoing[],
    open: readonly Outgoing[],
    failures: readonly SendFailure[],
    failed: Outgoing | undefined,
  ): void {
    const from = failed?.event.position ?? Infinity;
    for (const { event, message } of outgoing) {
      if (event.position < from) this.#accepted.delete(message.attributes.id);
    }
    if (!failed) return;
    const rejected = new Set(failures.map(({ index }) => index));
    open.forEach(({ event, message }, index) => {
      if (event.position >= from && !rejected.has(index)) this.#accepted.add(message.attributes.id);
    });
  }
}

/** The last message of each topic and key, where they are. */
function newestOf(outgoing: readonly Outgoing[]): readonly Outgoing[] {
  const newest = new Map<string, Outgoing>();
  for (const one of outgoing) newest.set(JSON.stringify([one.message.topic, one.message.key]), one);
  const kept = new Set(newest.values());
  return outgoing.filter((one) => kept.has(one));
}
