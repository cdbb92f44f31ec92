import { DefinitionError } from '../errors.js';
import { definitionOf, typeNameOf, type EventOf, type EventType } from '../events/event-type.js';

/** What only the repository and given/when/then may touch. */
export interface AggregateInternals {
  fold(aggregate: Aggregate, event: object): void;
  setRevision(aggregate: Aggregate, revision: number): void;
  peekPending(aggregate: Aggregate): readonly object[];
  /** The first `count` pending events are in the stream now. */
  markSaved(aggregate: Aggregate, count: number): void;
  revision(aggregate: Aggregate): number;
}

/**
 * The repository's side of an aggregate. Assigned once, by the static block of the class: only code inside it may touch
 * its private fields.
 */
let internals: AggregateInternals;

/**
 * A consistency boundary, rebuilt from the events of its stream. Domain methods check rules and `record` events;
 * methods marked `@applies` change the state. It needs nothing running: make one with `new`, call it, and look at
 * `pendingEvents`.
 */
export abstract class Aggregate {
  readonly id: string;
  #revision = -1;
  #pending: object[] = [];

  constructor(id: string) {
    this.id = id;
  }

  static {
    internals = {
      fold: (aggregate, event) => aggregate.apply(event),
      setRevision: (aggregate, revision) => (aggregate.#revision = revision),
      peekPending: (aggregate) => aggregate.#pending,
      markSaved: (aggregate, count) => {
        aggregate.#pending = aggregate.#pending.slice(count);
        aggregate.#revision += count;
      },
      revision: (aggregate) => aggregate.#revision,
    };
  }

  /**
   * Applies a new event and keeps it for the repository to append.
   * @throws DefinitionError if the event's class is not declared with `@event`; what its `@applies` method throws
   */
  protected record(event: object): void {
    this.apply(event);
    this.#pending.push(event);
  }

  /** Folds one event into the state. Classes use `@applies`; override this only for another way of dispatch. */
  protected apply(event: object): void {
    const method = appliersOf(this.constructor).get(typeNameOf(event));
    if (method === undefined) return;
    const applier: unknown = Reflect.get(this, method);
    if (typeof applier === 'function') Reflect.apply(applier, this, [event]);
  }
}

/** The events that an aggregate has recorded and not yet saved. */
export function pendingEvents(aggregate: Aggregate): readonly object[] {
  return [...internals.peekPending(aggregate)];
}

/** The revision of its stream that an aggregate was loaded or saved at; -1 for a new one. Pending events do not count. */
export function revisionOf(aggregate: Aggregate): number {
  return internals.revision(aggregate);
}

export { internals as aggregateInternals };

/** Marks a method as the one that changes the state for an event, as a standard or a legacy decorator. */
export interface AppliesDecorator<Event> {
  (method: (this: never, event: Event) => void, context: ClassMethodDecoratorContext): void;
  <Method extends (event: Event) => void>(
    prototype: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method>,
  ): void;
}

const taggedMethods = new WeakMap<object, EventType[]>();
const taggedNames = new WeakMap<object, Map<PropertyKey, EventType[]>>();

/**
 * Names the event type (or types) that a method applies: `@applies(OrderPlaced) placed(event: OrderPlaced) {…}`.
 * The method only assigns state: it checks nothing and calls nothing outside. Put it above other decorators.
 */
export function applies<Types extends readonly [EventType, ...EventType[]]>(
  ...types: Types
): AppliesDecorator<EventOf<Types[number]>> {
  return (target: object, key: unknown): void => {
    if (isMethodContext(key)) {
      checkMethod(key.name, key.kind === 'method' && !key.static && !key.private);
      taggedMethods.set(target, [...(taggedMethods.get(target) ?? []), ...types]);
      return;
    }
    const name = key as PropertyKey;
    checkMethod(name, typeof target === 'object');
    const names = taggedNames.get(target) ?? new Map<PropertyKey, EventType[]>();
    names.set(name, [...(names.get(name) ?? []), ...types]);
    taggedNames.set(target, names);
  };
}

function isMethodContext(key: unknown): key is ClassMethodDecoratorContext {
  return typeof key === 'object' && key !== null;
}

/** Any other member is out of reach when an event comes, and the event would be passed over. */
function checkMethod(name: PropertyKey, isReachable: boolean): void {
  if (isReachable) return;
  throw new DefinitionError(
    `@applies on ${String(name)}`,
    'it decorates methods that are not static and not #private',
  );
}

const appliersByClass = new WeakMap<object, Map<string, PropertyKey>>();

/** The methods of a class by the event type that they apply; found once a class. */
function appliersOf(aggregateClass: object): Map<string, PropertyKey> {
  const known = appliersByClass.get(aggregateClass);
  if (known) return known;
  const appliers = new Map<string, PropertyKey>();
  for (const [name, type] of appliedTypes(aggregateClass)) {
    const eventName = definitionOf(type).type;
    const other = appliers.get(eventName);
    if (other !== undefined && other !== name) {
      throw new DefinitionError(
        `Aggregate ${classNameOf(aggregateClass)}`,
        `${String(other)} and ${String(name)} both apply "${eventName}"`,
      );
    }
    appliers.set(eventName, name);
  }
  appliersByClass.set(aggregateClass, appliers);
  return appliers;
}

/**
 * The event types that a class, or one that it extends, has `@applies` methods for.
 * @throws DefinitionError if two methods apply the same, or one is not declared
 */
export function eventTypesOf(aggregateClass: object): EventType[] {
  appliersOf(aggregateClass);
  return [...new Set([...appliedTypes(aggregateClass)].map(([, type]) => type))];
}

function* appliedTypes(aggregateClass: object): Generator<[PropertyKey, EventType]> {
  for (
    let prototype: unknown = (aggregateClass as { prototype?: unknown }).prototype;
    typeof prototype === 'object' && prototype !== null && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    const owner = prototype;
    const legacy = taggedNames.get(owner);
    for (const name of Reflect.ownKeys(owner)) {
      const method: unknown = Object.getOwnPropertyDescriptor(owner, name)?.value;
      const standard = typeof method === 'function' ? taggedMethods.get(method) : undefined;
      for (const type of [...(standard ?? []), ...(legacy?.get(name) ?? [])]) yield [name, type];
    }
  }
}

/** The name of a class for messages. */
export function classNameOf(aggregateClass: object): string {
  return typeof aggregateClass === 'function' && aggregateClass.name ? aggregateClass.name : 'without a name';
}
