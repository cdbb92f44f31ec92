import { newEventId } from './event-id.js';
import { DecodeError, DefinitionError, UnknownEventTypeError, UnknownEventVersionError } from '../errors.js';
import type { EventBatch, EventReader } from '../store/event-reader.js';
import type { EventMetadata, NewEvent, RecordedEvent } from '../store/event-store.js';
import { toInstance, toPlain, usesClassTransformer } from './class-transformer.js';
import {
  definitionOf,
  isPlainEvent,
  typeNameOf,
  type EventClass,
  type EventDefinition,
  type EventType,
} from './event-type.js';

/** How one event type is written and read; made once a type, so that no event pays for the choice. */
interface TypeCodec {
  readonly type: string;
  readonly version: number;
  /** The class, for events that have one. */
  readonly eventClass: EventClass | undefined;
  /** Instance to JSON value. */
  readonly write: (event: object) => unknown;
  /** JSON value of the current version to what handlers get; absent where they get the JSON value itself. */
  readonly read: ((data: unknown) => unknown) | undefined;
  readonly upcasters: EventDefinition['upcasters'];
}

/**
 * Turns events into stored data and back, for the event types of one application. Classes that use class-transformer's
 * decorators go through it; all others take a fast path that copies properties and runs no constructor.
 */
export class EventCodec {
  readonly #byName = new Map<string, TypeCodec>();
  readonly #namesOf = new Map<string, readonly string[]>();

  /** @throws DefinitionError if two types share a name, or one was never declared */
  constructor(types: Iterable<EventType>) {
    const owners = new Map<string, EventType>();
    for (const type of types) {
      const definition = definitionOf(type);
      for (const name of [definition.type, ...definition.aliases]) {
        const owner = owners.get(name);
        if (owner === type) continue;
        if (owner)
          throw new DefinitionError(`Event "${name}"`, 'two event types of this application share the name');
        owners.set(name, type);
        this.#byName.set(name, typeCodec(definition));
      }
      this.#namesOf.set(definition.type, [definition.type, ...definition.aliases]);
    }
  }

  /** All names under which events of these types may stand in a log: what a filter must let through. */
  storedNames(types: Iterable<EventType>): string[] {
    return [...types].flatMap((type) => {
      const name = definitionOf(type).type;
      return [...(this.#namesOf.get(name) ?? [name])];
    });
  }

  /** Whether events of this stored name can be read. */
  knows(name: string): boolean {
    return this.#byName.has(name);
  }

  /** All names that this codec can read. */
  allNames(): string[] {
    return [...this.#byName.keys()];
  }

  /** An event as stored data with a new id. @throws DefinitionError, UnknownEventTypeError */
  encode(event: object, metadata?: EventMetadata): NewEvent {
    const name = typeNameOf(event);
    const codec = this.#byName.get(name);
    if (!codec) throw new UnknownEventTypeError(name, 'about to be appended');
    if (codec.eventClass && !(event instanceof codec.eventClass)) {
      throw new DefinitionError(
        `Event "${name}"`,
        `it is declared as class ${codec.eventClass.name}: make it with new, not as { type, data }`,
      );
    }
    return { id: newEventId(), type: codec.type, version: codec.version, data: codec.write(event), metadata };
  }

  /**
   * A stored event as handlers get it: led to the current version, and an instance where its type is a class.
   * @throws UnknownEventTypeError, UnknownEventVersionError, DecodeError
   */
  decode(recorded: RecordedEvent): RecordedEvent {
    const codec = this.#byName.get(recorded.type);
    if (!codec) throw new UnknownEventTypeError(recorded.type, placeOf(recorded));
    let data = recorded.data;
    if (recorded.version !== codec.version) data = upcast(codec, recorded);
    if (codec.read) data = revive(codec.read, data, recorded);
    if (data === recorded.data && codec.type === recorded.type) return recorded;
    return {
      id: recorded.id,
      type: codec.type,
      version: recorded.version,
      stream: recorded.stream,
      revision: recorded.revision,
      position: recorded.position,
      recordedAt: recorded.recordedAt,
      metadata: recorded.metadata,
      data,
    };
  }

  /** What an aggregate folds: the instance, or for plain events the event itself. */
  domainEvent(decoded: RecordedEvent): object {
    const codec = this.#byName.get(decoded.type);
    return codec?.eventClass && typeof decoded.data === 'object' && decoded.data !== null
      ? decoded.data
      : decoded;
  }

  /** The same read, decoded. */
  decodeAll(reader: EventReader): EventReader {
    return reader.map((batch) => this.decodeBatch(batch));
  }

  decodeBatch({ events, through }: EventBatch): EventBatch {
    return { events: events.map((event) => this.decode(event)), through };
  }
}

function typeCodec(definition: EventDefinition): TypeCodec {
  const { type, version, upcasters, eventClass } = definition;
  const common = { type, version, upcasters, eventClass };
  const custom = definition.revive && ((data: unknown) => definition.revive?.(data as never));
  if (!eventClass)
    return { ...common, write: (event) => (isPlainEvent(event) ? event.data : event), read: custom };
  if (custom) return { ...common, write: (event) => event, read: custom };
  if (usesClassTransformer(eventClass)) {
    return { ...common, write: toPlain, read: (data) => toInstance(eventClass, data) };
  }
  const prototype = eventClass.prototype as object;
  return {
    ...common,
    write: (event) => event,
    read: (data) => Object.assign(Object.create(prototype) as object, data),
  };
}

function upcast(codec: TypeCodec, recorded: RecordedEvent): unknown {
  if (recorded.version > codec.version) {
    throw new UnknownEventVersionError(recorded.type, recorded.version, codec.version, placeOf(recorded));
  }
  let data = recorded.data;
  for (let version = recorded.version; version < codec.version; version++) {
    const step = codec.upcasters[version];
    if (!step) throw new UnknownEventVersionError(recorded.type, version, codec.version, placeOf(recorded));
    try {
      data = step(data as never);
    } catch (cause) {
      throw new DecodeError(recorded.type, version, placeOf(recorded), cause);
    }
  }
  return data;
}

function revive(read: (data: unknown) => unknown, data: unknown, recorded: RecordedEvent): unknown {
  try {
    return read(data);
  } catch (cause) {
    throw new DecodeError(recorded.type, recorded.version, placeOf(recorded), cause);
  }
}

function placeOf({ stream, revision }: RecordedEvent): string {
  return `${stream} at revision ${revision}`;
}
