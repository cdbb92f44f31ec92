import { getClassMetadata, ClassElementMetadataKind, type ClassElementMetadata } from '@inversifyjs/core';
import { messageOf } from '@refold/core';
import {
  LazyServiceIdentifier,
  type ContainerModuleLoadOptions,
  type MetadataName,
  type Newable,
  type ResolutionContext,
  type ResolvedValueMetadataInjectTagOptions,
  type ServiceIdentifier,
} from 'inversify';
import { nameOf } from './injected.js';

type Bindings = Pick<ContainerModuleLoadOptions, 'bind' | 'unbind' | 'isBound'>;

/** What is to be found in a container: a service, or something that a class asks for in its constructor. */
interface Wanted {
  readonly path: string;
  readonly identifier: ServiceIdentifier;
  readonly optional?: boolean;
  /** All that are bound, of which there may be any number but none. */
  readonly isMultiple?: boolean;
  readonly constraints?: {
    readonly name?: MetadataName;
    readonly tags?: ResolvedValueMetadataInjectTagOptions[];
  };
}

/** Planned, so nothing that is wanted is missing; thrown before anything is made. */
class Planned extends Error {}

/**
 * Looks whether services can be resolved, without making any: Inversify plans a whole tree before it makes the first
 * instance, and the first one made here throws.
 */
export class BindingCheck {
  readonly #bindings: Bindings;
  readonly #context: ResolutionContext;
  readonly #stop = Symbol('stop');
  readonly #probe = Symbol('probe');
  readonly #seen = new Set<ServiceIdentifier>();
  readonly #problems = new Set<string>();

  constructor(bindings: Bindings, context: ResolutionContext) {
    this.#bindings = bindings;
    this.#context = context;
  }

  /** Everything that was found wrong, each once. */
  get problems(): readonly string[] {
    return [...this.#problems];
  }

  /** Looks at a service that `by` needs, and at what it needs in turn. */
  check(identifier: ServiceIdentifier, by: string): void {
    this.#check({ path: by, identifier });
  }

  /** Does what makes a service available, then looks at it. */
  attempt(identifier: ServiceIdentifier, by: string, bind: () => void): void {
    try {
      bind();
    } catch (error) {
      this.#add(`${by} needs ${nameOf(identifier)}: ${reasonOf(error)}`);
      return;
    }
    this.check(identifier, by);
  }

  #check(wanted: Wanted): void {
    const { path, identifier, optional = false } = wanted;
    if (optional && !this.#bindings.isBound(identifier)) return;
    const further = this.#isOwnClass(identifier) ? this.#argumentsOf(identifier, path) : [];
    const before = this.#problems.size;
    for (const one of further) this.#check(one);
    // Where something that it needs is wrong, it cannot be planned either; that was said.
    if (this.#problems.size > before) return;
    const problem = this.#plan(wanted);
    if (problem === undefined) return;
    this.#add(`${path} needs ${nameOf(identifier)}: ${problem}`);
  }

  #add(problem: string): void {
    this.#problems.add(problem);
  }

  #isOwnClass(identifier: ServiceIdentifier): identifier is Newable<unknown> {
    if (typeof identifier !== 'function' || this.#seen.has(identifier)) return false;
    this.#seen.add(identifier);
    return this.#bindings.isBound(identifier);
  }

  #argumentsOf(type: Newable<unknown>, path: string): Wanted[] {
    const within = `${path} > ${type.name}`;
    try {
      const { constructorArguments, properties } = getClassMetadata(type);
      return [...constructorArguments, ...properties.values()].flatMap((one) => wantedOf(one, within));
    } catch {
      // Its decorators are incomplete: planning says so.
      return [];
    }
  }

  #plan({ identifier, isMultiple = false, constraints }: Wanted): string | undefined {
    const { bind, unbind } = this.#bindings;
    bind(this.#stop)
      .toDynamicValue(() => {
        throw new Planned();
      })
      .inTransientScope();
    const probe = bind(this.#probe);
    const wanted = { serviceIdentifier: identifier, ...constraints };
    if (isMultiple) {
      probe.toResolvedValue(nothing<[unknown, unknown[]]>, [this.#stop, { ...wanted, isMultiple: true }]);
    } else probe.toResolvedValue(nothing<[unknown, unknown]>, [this.#stop, wanted]);
    try {
      this.#context.get(this.#probe);
      return undefined;
    } catch (error) {
      return error instanceof Planned ? undefined : reasonOf(error);
    } finally {
      unbind(this.#probe);
      unbind(this.#stop);
    }
  }
}

function wantedOf(element: ClassElementMetadata, path: string): Wanted[] {
  if (element.kind === ClassElementMetadataKind.unmanaged) return [];
  const { value, optional, name } = element;
  const tags = [...element.tags].map(([key, of]) => ({ key, value: of }));
  return [
    {
      path,
      identifier: LazyServiceIdentifier.is(value) ? value.unwrap() : value,
      optional,
      isMultiple: element.kind === ClassElementMetadataKind.multipleInjection,
      constraints: { ...(name === undefined ? {} : { name }), ...(tags.length === 0 ? {} : { tags }) },
    },
  ];
}

function nothing<Args extends unknown[]>(..._: Args): undefined {
  return undefined;
}

/** The first lines of what Inversify says: what is behind them tells of this check. */
function reasonOf(error: unknown): string {
  const [said = ''] = messageOf(error).split(/\n\nTrying to resolve/);
  return said.trim().replace(/\s*\n\s*/g, ' ');
}
