import { DefinitionError } from '../errors.js';
import { toInstance, toPlain, usesClassTransformer } from '../events/class-transformer.js';
import type { EventType } from '../events/event-type.js';
import { MESSAGE_CATEGORY } from '../messages/message-stream.js';
import { Aggregate, classNameOf, eventTypesOf } from './aggregate.js';
import { checkSnapshotValue } from './snapshot-state.js';

/** A class that extends `Aggregate` and takes its id. */
export type AggregateClass<A extends Aggregate = Aggregate> = new (id: string) => A;

/** What can be said of an aggregate beside its category. */
export interface AggregateOptions {
  /** Raise it when the state's shape changes: snapshots of other versions are then ignored. Default 1. */
  readonly version?: number;
  /** Take a snapshot each time so many events have been saved. Default: never. */
  readonly snapshotEvery?: number;
  /** Event types that the aggregate records but does not apply. */
  readonly events?: readonly EventType[];
}

/** How the repository makes, fills and names one kind of aggregate. */
export interface AggregateType<A extends Aggregate = Aggregate> {
  /** The category of its streams. */
  readonly category: string;
  readonly version: number;
  readonly snapshotEvery: number | undefined;
  readonly eventTypes: readonly EventType[];
  create(id: string): A;
  /** The state as JSON can keep it. @throws DefinitionError where it cannot */
  toSnapshot(aggregate: A): unknown;
  fromSnapshot(id: string, state: unknown): A;
}

const types = new WeakMap<object, AggregateType>();

/**
 * Declares a class as an aggregate whose streams are called `category-id`: `@aggregate('order')`.
 * Works as a standard and as a legacy decorator, and as a plain call: `aggregate('order')(Order)`.
 * @throws DefinitionError for a bad category, version or snapshot policy
 */
export function aggregate(
  category: string,
  options: AggregateOptions = {},
): (aggregateClass: AggregateClass, context?: ClassDecoratorContext) => void {
  return (aggregateClass) => {
    types.set(aggregateClass, classType(category, options, aggregateClass));
  };
}

/** Registers a ready-made type for a value that stands for it, as `decider` does. */
export function registerAggregateType(key: object, type: AggregateType): void {
  types.set(key, type);
}

/** The aggregate type of a decorated class or a decider. @throws DefinitionError if there is none */
export function aggregateTypeOf(key: object): AggregateType {
  const type = types.get(key);
  if (!type) {
    throw new DefinitionError(
      `Aggregate ${classNameOf(key)}`,
      "it has no category: decorate the class with @aggregate('category'), or make it with decider()",
    );
  }
  return type;
}

/** The parts of an aggregate type that classes and deciders check alike. */
export function checkAggregateOptions(
  category: string,
  { version = 1, snapshotEvery }: AggregateOptions,
): { category: string; version: number; snapshotEvery: number | undefined } {
  const subject = `Aggregate "${category}"`;
  if (typeof category !== 'string' || !/^[A-Za-z0-9_.]{1,100}$/.test(category)) {
    throw new DefinitionError(subject, 'its category must be 1 to 100 letters, digits, dots or underscores');
  }
  if (category === MESSAGE_CATEGORY) {
    throw new DefinitionError(subject, 'its category is that of the streams of messages: choose another');
  }
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new DefinitionError(subject, `its version must be a whole number from 1, got ${String(version)}`);
  }
  if (snapshotEvery !== undefined && (!Number.isSafeInteger(snapshotEvery) || snapshotEvery < 1)) {
    throw new DefinitionError(
      subject,
      `snapshotEvery must be a whole number from 1, got ${String(snapshotEvery)}`,
    );
  }
  return { category, version, snapshotEvery };
}

function classType(
  category: string,
  options: AggregateOptions,
  aggregateClass: AggregateClass,
): AggregateType {
  const checked = checkAggregateOptions(category, options);
  if (!(aggregateClass.prototype instanceof Aggregate)) {
    throw new DefinitionError(
      `Aggregate "${category}"`,
      `class ${classNameOf(aggregateClass)} must extend Aggregate`,
    );
  }
  const transformed = usesClassTransformer(aggregateClass);
  return {
    ...checked,
    get eventTypes() {
      return [...new Set([...eventTypesOf(aggregateClass), ...(options.events ?? [])])];
    },
    create: (id) => new aggregateClass(id),
    toSnapshot: (instance) =>
      transformed ? toPlain(instance) : plainState(instance, new aggregateClass(instance.id), category),
    fromSnapshot: (id, state) => {
      const restored = transformed ? toInstance(aggregateClass, state) : state;
      return Object.assign(new aggregateClass(id), restored, { id });
    },
  };
}

/** The own properties of an aggregate. @throws DefinitionError for a value that JSON would change */
function plainState(instance: Aggregate, initial: Aggregate, category: string): Record<string, unknown> {
  const state: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(instance)) {
    if (name === 'id') continue;
    checkSnapshotValue(category, name, value, Reflect.get(initial, name));
    state[name] = value;
  }
  return state;
}
