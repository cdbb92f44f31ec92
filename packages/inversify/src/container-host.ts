import type { AroundBatch, Processor, StateUnit, Transport } from '@refold/core';
import { MessageDelivery } from '@refold/core';
import type { ContainerModuleLoadOptions, Newable, ResolutionContext, ServiceIdentifier } from 'inversify';
import { inBatch, type Batch } from './batch.js';
import { BindingCheck } from './binding-check.js';
import { BindingsError } from './errors.js';
import { InjectedTransport, useOf, type HandlerUse } from './injected.js';

/** The instances of a processor's handlers, for one batch. */
type Instances = ReadonlyMap<ServiceIdentifier, object>;

/** What a definition is called in messages, and what it needs. */
export type Definition = Pick<Processor, 'name' | 'handlers'>;

/** Gives the handlers and transports of some definitions what they need of one container. */
export class ContainerHost {
  readonly #definitions: readonly Definition[];
  readonly #handlers = new Map<string, symbol>();
  readonly #transports = new Map<ServiceIdentifier, Promise<Transport>>();
  #context: ResolutionContext | undefined;

  constructor(definitions: readonly Definition[]) {
    this.#definitions = definitions;
  }

  /**
   * Binds handler classes that the container has no binding for, and looks whether all that is needed can be had.
   * @throws BindingsError
   */
  async open(bindings: ContainerModuleLoadOptions, context: ResolutionContext): Promise<void> {
    this.#context = context;
    const check = new BindingCheck(bindings, context);
    for (const definition of this.#definitions) {
      const uses = usesOf(definition);
      for (const use of uses.values()) {
        check.attempt(use.identifier, definition.name, () => bindIfMissing(bindings, use));
      }
      this.#bindHandlers(bindings, definition.name, [...uses.keys()]);
    }
    const transports = this.#definitions.flatMap(transportOf);
    for (const { identifier, by } of transports) check.check(identifier, by);
    if (check.problems.length > 0) throw new BindingsError(check.problems);
    for (const { identifier } of transports) await this.#transport(identifier);
  }

  /** Has handlers run with the instances of this container, each batch with its own. */
  readonly aroundBatch: AroundBatch = ({ processor, unit }, work) =>
    inBatch(this.#batch(processor, unit), work);

  /** Closes the transports that were resolved. */
  async close(): Promise<void> {
    const resolved = await Promise.allSettled(this.#transports.values());
    this.#transports.clear();
    for (const transport of resolved) if (transport.status === 'fulfilled') await transport.value.close();
  }

  /** One resolution makes all handlers of a processor: to Inversify a batch is a request. */
  #bindHandlers(
    { bind }: ContainerModuleLoadOptions,
    processor: string,
    identifiers: readonly ServiceIdentifier<object>[],
  ): void {
    if (identifiers.length === 0) return;
    const handlers = Symbol(`Handlers of ${processor}`);
    bind<Instances>(handlers)
      .toResolvedValue<object[]>(
        (...instances) =>
          new Map(identifiers.map((identifier, index) => [identifier, instances[index] ?? {}])),
        [...identifiers],
      )
      .inTransientScope();
    this.#handlers.set(processor, handlers);
  }

  #batch(processor: string, unit: StateUnit | undefined): Batch {
    let instances: Promise<Instances> | undefined;
    return {
      unit,
      instanceOf: async (identifier) => {
        instances ??= this.#instances(processor);
        const instance = (await instances).get(identifier);
        if (!instance) throw new BindingsError([`${processor} has no handler of that name`]);
        return instance;
      },
      transport: (identifier) => this.#transport(identifier),
    };
  }

  #instances(processor: string): Promise<Instances> {
    const handlers = this.#handlers.get(processor);
    if (!handlers || !this.#context) return Promise.resolve(new Map());
    return this.#context.getAsync<Instances>(handlers);
  }

  #transport(identifier: ServiceIdentifier<Transport>): Promise<Transport> {
    const known = this.#transports.get(identifier);
    if (known) return known;
    if (!this.#context) throw new BindingsError(['The application has not been resolved']);
    const resolved = this.#context.getAsync(identifier);
    this.#transports.set(identifier, resolved);
    return resolved;
  }
}

function usesOf({ handlers = [] }: Definition): Map<ServiceIdentifier<object>, HandlerUse> {
  const uses = new Map<ServiceIdentifier<object>, HandlerUse>();
  for (const handler of handlers) {
    const use = useOf(handler);
    if (use && (use.scope === 'batch' || !uses.has(use.identifier))) uses.set(use.identifier, use);
  }
  return uses;
}

function bindIfMissing(
  { bind, isBound }: ContainerModuleLoadOptions,
  { identifier, scope }: HandlerUse,
): void {
  if (!isClass(identifier) || isBound(identifier)) return;
  const binding = bind(identifier).to(identifier);
  if (scope === 'batch') binding.inRequestScope();
  else binding.inSingletonScope();
}

/** Abstract classes look the same; that they cannot be made, planning does not know. */
function isClass(identifier: ServiceIdentifier<object>): identifier is Newable<object> {
  return typeof identifier === 'function';
}

function transportOf(
  definition: Definition,
): { readonly identifier: ServiceIdentifier<Transport>; readonly by: string }[] {
  if (!(definition instanceof MessageDelivery)) return [];
  const { transport } = definition;
  return transport instanceof InjectedTransport
    ? [{ identifier: transport.identifier, by: definition.name }]
    : [];
}
