import {
  aggregateTypeOf,
  type Aggregate,
  type AggregateClass,
  type AnyDecider,
  type Decider,
  type DeciderAggregate,
  type DocumentProjection,
  type DocumentReader,
  type Indexes,
  type Repository,
} from '@refold/core';
import type { ServiceIdentifier } from 'inversify';

/**
 * Identifies the transaction in which the handlers of a batch run, those of receivers, of custom projections, and of deliveries
 * that are `exactlyOnce`. Classes that ask for it are made anew for every batch: see `injected`.
 */
export const BatchUnit = Symbol('BatchUnit');

const repositories = new WeakMap<object, symbol>();
const readModels = new WeakMap<object, symbol>();

/**
 * Identifies the repository of an aggregate class or a decider: `@inject(repositoryOf(Order)) orders: Repository<Order>`.
 * @throws DefinitionError if it is neither
 */
export function repositoryOf<A extends Aggregate>(
  aggregate: AggregateClass<A>,
): ServiceIdentifier<Repository<A>>;
export function repositoryOf<Command, State, Event extends object>(
  aggregate: Decider<Command, State, Event>,
): ServiceIdentifier<Repository<DeciderAggregate<Command, State, Event>>>;
export function repositoryOf(
  aggregate: AggregateClass | AnyDecider,
): ServiceIdentifier<Repository<Aggregate>>;
export function repositoryOf(aggregate: object): symbol {
  return remembered(repositories, aggregate, () => `Repository of ${aggregateTypeOf(aggregate).category}`);
}

/** Identifies the documents of a projection: `@inject(readModelOf(stock)) stock: DocumentReader<Stock>`. */
export function readModelOf<Doc, Fields extends Indexes>(
  projection: DocumentProjection<Doc, Fields>,
): ServiceIdentifier<DocumentReader<Doc, Fields>> {
  return remembered(readModels, projection, () => `Read model of ${projection.name}`);
}

function remembered(all: WeakMap<object, symbol>, key: object, name: () => string): symbol {
  const known = all.get(key);
  if (known) return known;
  const identifier = Symbol(name());
  all.set(key, identifier);
  return identifier;
}
