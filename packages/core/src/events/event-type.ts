import { DefinitionError } from '../errors.js';

/** A class whose instances are events. */
export type EventClass<Event extends object = object> = abstract new (...args: never[]) => Event;

/** An event as plain data. */
export interface PlainEvent<Type extends string = string, Data = unknown> {
  readonly type: Type;
  readonly data: Data;
}

/** What `defineEvent` returns: call it to make an event, name it wherever an event type is asked for. */
export interface EventCreator<
  Type extends string = string,
  Data = unknown,
  Args extends unknown[] = never[],
> {
  (...args: Args): PlainEvent<Type, Data>;
  readonly type: Type;
}

/** Either form in which a program declares an event type. */
export type EventType = EventClass | EventCreator;

/** What `event.data` is for events of a type: an instance of its class, or its plain data. */
export type DataOf<T> =
  T extends EventCreator<string, infer Data> ? Data : T extends EventClass<infer Event> ? Event : never;

/** The event that a program makes and an aggregate folds: an instance of a class, or `{ type, data }`. */
export type EventOf<T> =
  T extends EventCreator<infer Type, infer Data>
    ? PlainEvent<Type, Data>
    : T extends EventClass<infer Event>
      ? Event
      : never;

/** Leads data of one version to the next. It gets and returns stored JSON data, never instances. */
export type Upcaster = (data: never) => unknown;

/** What can be said of an event type beside its name. */
export interface EventOptions<Data = unknown> {
  /** The version of the data's shape that this code writes, from 1. Default 1. */
  readonly version?: number;
  /** One step for every older version still in a log: `{ 1: v1 => v2, 2: v2 => v3 }`. */
  readonly upcasters?: Readonly<Record<number, Upcaster>>;
  /** Earlier names of the type, under which it is still found in logs. */
  readonly aliases?: readonly string[];
  /**
   * Makes what handlers get from current-version JSON data. Default: an object of the class with the data's
   * properties, by class-transformer if the class uses its decorators; for plain events the data itself.
   */
  readonly revive?: (data: never) => Data;
}

/** An event type as the registry keeps it. */
export interface EventDefinition {
  readonly type: string;
  readonly version: number;
  readonly upcasters: Readonly<Record<number, Upcaster>>;
  readonly aliases: readonly string[];
  readonly revive: ((data: never) => unknown) | undefined;
  /** The class, for events that have one. */
  readonly eventClass: EventClass | undefined;
}

const definitions = new WeakMap<object, EventDefinition>();

/**
 * Declares a class as an event type with a stable name: `@event('OrderPlaced', { version: 2 })`.
 * Works as a standard and as a legacy decorator, and as a plain call: `event('OrderPlaced')(OrderPlaced)`.
 * @throws DefinitionError for a bad name, version or upcaster
 */
export function event<Data extends object = object>(
  type: string,
  options: EventOptions<Data> = {},
): (eventClass: EventClass<Data>, context?: ClassDecoratorContext) => void {
  return (eventClass) => {
    if (typeof eventClass !== 'function') {
      throw new DefinitionError(`@event('${type}')`, 'it decorates a class');
    }
    definitions.set(eventClass, define(type, options, eventClass));
  };
}

/**
 * Declares an event type of plain data. The function makes the data, and its types are the event's:
 * `const OrderPlaced = defineEvent('OrderPlaced', (data: { total: number }) => data)`.
 * @throws DefinitionError for a bad name, version or upcaster
 */
export function defineEvent<Type extends string, Args extends unknown[], Data>(
  type: Type,
  create: (...args: Args) => Data,
  options: EventOptions<Data> = {},
): EventCreator<Type, Data, Args> {
  const creator = Object.assign(
    (...args: Args): PlainEvent<Type, Data> => ({ type, data: create(...args) }),
    {
      type,
    },
  );
  definitions.set(creator, define(type, options, undefined));
  return creator;
}

/** The definition of an event type. @throws DefinitionError if it was never declared */
export function definitionOf(type: object): EventDefinition {
  const definition = definitions.get(type);
  if (!definition) {
    throw new DefinitionError(
      `Event ${nameOf(type)}`,
      "it has no declared type: decorate the class with @event('Name'), or make it with defineEvent",
    );
  }
  return definition;
}

/** The stored type name of an event about to be recorded. @throws DefinitionError if its class was never declared */
export function typeNameOf(event: object): string {
  const definition = definitions.get(event.constructor);
  if (definition) return definition.type;
  if (isPlainEvent(event)) return event.type;
  return definitionOf(event.constructor).type;
}

/** Whether an event has the plain form. */
export function isPlainEvent(event: object): event is PlainEvent {
  return 'type' in event && typeof event.type === 'string' && 'data' in event;
}

function define(type: string, options: EventOptions, eventClass: EventClass | undefined): EventDefinition {
  const { version = 1, upcasters = {}, aliases = [], revive } = options;
  const subject = `Event ${JSON.stringify(type)}`;
  if (typeof type !== 'string' || type === '') throw new DefinitionError(subject, 'its type must be a name');
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new DefinitionError(subject, `its version must be a whole number from 1, got ${String(version)}`);
  }
  for (const key of Object.keys(upcasters)) {
    const from = Number(key);
    if (!Number.isSafeInteger(from) || from < 1 || from >= version) {
      throw new DefinitionError(
        subject,
        `upcasters[${key}] leads from a version that is not below ${version}: raise the version or remove the step`,
      );
    }
  }
  return { type, version, upcasters, aliases, revive, eventClass };
}

function nameOf(type: object): string {
  return typeof type === 'function' && type.name ? type.name : 'without a name';
}
