import {
  Application,
  createApplication,
  DefinitionError,
  DocumentProjection,
  Worker,
  type Aggregate,
  type AggregateClass,
  type AnyDecider,
  type ApplicationOptions,
  type Repository,
  type StateUnit,
  type Store,
  type WorkerOptions,
} from '@refold/core';
import {
  ContainerModule,
  type Container,
  type ContainerModuleLoadOptions,
  type ResolutionContext,
  type ServiceIdentifier,
} from 'inversify';
import { currentBatch } from './batch.js';
import { ContainerHost } from './container-host.js';
import { BindingsError } from './errors.js';
import { BatchUnit, readModelOf, repositoryOf } from './identifiers.js';

/** A value, or a function that makes it, asynchronously or not, of what is in the container. */
export type FromContainer<Value extends object> =
  Value | ((context: ResolutionContext) => Value | Promise<Value>);

/** What an application in a container is made of: `ApplicationOptions`, where some may come from the container. */
export interface RefoldModuleOptions<Unit extends StateUnit = StateUnit> extends Omit<
  ApplicationOptions<Unit>,
  'store' | 'logger' | 'clock'
> {
  readonly store: FromContainer<ApplicationOptions<Unit>['store']>;
  readonly logger?: FromContainer<NonNullable<ApplicationOptions<Unit>['logger']>>;
  readonly clock?: FromContainer<NonNullable<ApplicationOptions<Unit>['clock']>>;
  /** Those of the worker that the container has. */
  readonly worker?: WorkerOptions;
}

/** A module that binds an application. Make it with `refoldModule`. */
export class RefoldModule<Unit extends StateUnit = StateUnit> extends ContainerModule {
  /** Identifies its application like `Application` does, with the type of its transactions. */
  readonly application: ServiceIdentifier<Application<Unit>>;

  constructor(options: RefoldModuleOptions<Unit>) {
    super((bindings) => bindAll(bindings, options));
    this.application = Application;
  }
}

/**
 * Binds an application: `Application`, `Worker`, a repository for every aggregate (`repositoryOf`), the documents of every
 * document projection (`readModelOf`), and `BatchUnit`; and handler classes of `injected` that the container has no binding
 * for. All but the last are one instance each. `startRefold` loads it and makes the application.
 *
 * The application is made when it is first resolved, which is asynchronous: `await container.getAsync(Application)`. Then
 * everything that handlers and transports need is looked for, and what is missing or ambiguous is a BindingsError that
 * names all of it. When the container lets go of it (`await container.unbindAllAsync()`) it is closed, with its store and
 * transports: stop workers first.
 */
export function refoldModule<Unit extends StateUnit>(options: RefoldModuleOptions<Unit>): RefoldModule<Unit> {
  return new RefoldModule(options);
}

/**
 * Loads a module into a container, and makes its application. If that fails, the container is as it was.
 * @throws BindingsError for what is missing or ambiguous, DefinitionError for what is wrong in the definitions, and what
 * opening the store throws
 */
export async function startRefold<Unit extends StateUnit>(
  container: Container,
  module: RefoldModule<Unit>,
): Promise<Application<Unit>> {
  if (container.isBound(Application)) {
    throw new BindingsError(['Application is bound already: a container has one, load one refoldModule']);
  }
  container.load(module);
  try {
    return await container.getAsync(module.application);
  } catch (error) {
    await container.unloadAsync(module);
    throw error;
  }
}

function bindAll<Unit extends StateUnit>(
  bindings: ContainerModuleLoadOptions,
  options: RefoldModuleOptions<Unit>,
): void {
  const { bind } = bindings;
  const {
    aggregates = [],
    projections = [],
    deliveries = [],
    processManagers = [],
    receivers = [],
  } = options;
  const host = new ContainerHost([...projections, ...deliveries, ...processManagers, ...receivers]);
  const start = Symbol('Start of the application');
  bind<Start<Unit>>(start)
    .toDynamicValue((context) => started(createIn(bindings, context, host, options)))
    .inSingletonScope()
    .onDeactivation(async (made) => {
      if ('application' in made) await host.close().finally(() => made.application.close());
    });
  bind<Application<Unit>>(Application)
    .toResolvedValue(applicationOf<Unit>, [start])
    .inTransientScope();
  bind<Worker>(Worker)
    .toResolvedValue((application: Application) => application.worker(options.worker), [Application])
    .inSingletonScope();
  for (const aggregate of aggregates) bindRepository(bindings, aggregate);
  for (const projection of projections) {
    if (!(projection instanceof DocumentProjection)) continue;
    bind(readModelOf(projection))
      .toResolvedValue((application: Application) => application.readModel(projection), [Application])
      .inSingletonScope();
  }
  bind<StateUnit>(BatchUnit).toDynamicValue(unitOfBatch).inTransientScope();
}

/** What came of the start. A promise that rejects would be kept, and then no container could let go of it. */
type Start<Unit extends StateUnit> =
  { readonly application: Application<Unit> } | { readonly failure: unknown };

function started<Unit extends StateUnit>(creation: Promise<Application<Unit>>): Promise<Start<Unit>> {
  return creation.then(
    (application) => ({ application }),
    (failure: unknown) => ({ failure }),
  );
}

function applicationOf<Unit extends StateUnit>(start: Start<Unit>): Application<Unit> {
  if ('failure' in start) throw start.failure;
  return start.application;
}

async function createIn<Unit extends StateUnit>(
  bindings: ContainerModuleLoadOptions,
  context: ResolutionContext,
  host: ContainerHost,
  options: RefoldModuleOptions<Unit>,
): Promise<Application<Unit>> {
  const { store, logger, clock, aroundBatch = asItIs, ...definitions } = options;
  let opened: Store<Unit> | undefined;
  try {
    await host.open(bindings, context);
    opened = await made(store, context);
    return createApplication<Unit>({
      ...definitions,
      store: opened,
      logger: logger && (await made(logger, context)),
      clock: clock && (await made(clock, context)),
      aroundBatch: (batch, work) => host.aroundBatch(batch, () => aroundBatch(batch, work)),
    });
  } catch (error) {
    await host.close();
    // One that was given as it is belongs to whoever has opened it.
    if (typeof store === 'function') await opened?.close();
    throw error;
  }
}

function asItIs<Result>(_: unknown, work: () => Promise<Result>): Promise<Result> {
  return work();
}

async function made<Value extends object>(
  value: FromContainer<Value>,
  context: ResolutionContext,
): Promise<Value> {
  return typeof value === 'function' ? value(context) : value;
}

function bindRepository({ bind }: ContainerModuleLoadOptions, aggregate: AggregateClass | AnyDecider): void {
  bind<Repository<Aggregate>>(repositoryOf(aggregate))
    .toResolvedValue((application: Application) => application.repository(aggregate), [Application])
    .inSingletonScope();
}

function unitOfBatch(): StateUnit {
  const { unit } = currentBatch('BatchUnit');
  if (unit) return unit;
  throw new DefinitionError(
    'BatchUnit',
    "there is no transaction here: it is for custom projections, and deliveries with guarantee: 'exactlyOnce'",
  );
}
