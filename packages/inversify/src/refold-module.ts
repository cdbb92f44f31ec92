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
  'store' | 'logger' | 'clock' | 'aroundBatch'
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
 * Loads a module into a container, and makes its application.
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
  return container.getAsync(module.application);
}

function bindAll<Unit extends StateUnit>(
  bindings: ContainerModuleLoadOptions,
  options: RefoldModuleOptions<Unit>,
): void {
  const { bind } = bindings;
  const { aggregates = [], projections = [], deliveries = [], processManagers = [] } = options;
  const host = new ContainerHost([...projections, ...deliveries, ...processManagers]);
  bind<Application<Unit>>(Application)
    .toDynamicValue((context) => createIn(bindings, context, host, options))
    .inSingletonScope()
    .onDeactivation(async (application) => {
      await host.close();
      await application.close();
    });
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

async function createIn<Unit extends StateUnit>(
  bindings: ContainerModuleLoadOptions,
  context: ResolutionContext,
  host: ContainerHost,
  options: RefoldModuleOptions<Unit>,
): Promise<Application<Unit>> {
  await host.open(bindings, context);
  const { store, logger, clock, ...definitions } = options;
  return createApplication<Unit>({
    ...definitions,
    logger: logger && (await made(logger, context)),
    clock: clock && (await made(clock, context)),
    store: await made(store, context),
    aroundBatch: host.aroundBatch,
  });
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
