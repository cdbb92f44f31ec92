import { AsyncLocalStorage } from 'node:async_hooks';
import {
  customProjection,
  defineEvent,
  Delivery,
  documentProjection,
  type DeliveryHandler,
  type DeliveryOptions,
  type Lease,
  type OnError,
  type Projection,
  type StateUnit,
} from '@refold/core';
import { Random } from '../crash/random.js';
import type { Ledger } from './ledger.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { KnownEvent, World } from './world.js';

interface Body {
  readonly n: number;
  readonly group: string;
}

export const Moved = defineEvent('Moved', (body: Body) => body);
export const Renamed = defineEvent('Renamed', (body: Body) => body);
/** No processor handles it. */
export const Noise = defineEvent('Noise', (body: Body) => body);

/** What a processor of a run is like. */
export interface ProcessorSpec {
  readonly name: 'totals' | 'chain' | 'mails' | 'pings';
  readonly partitions: number;
  readonly onError: OnError;
  /** What its sequences are: the streams, or what cuts across them. */
  readonly key: 'stream' | 'group';
  /** How many events in a hundred it cannot handle, ever or for a while. */
  readonly poison: number;
}

/** The document of one sequence: it shows every event that is left out, repeated or out of order. */
export interface Folded {
  readonly count: number;
  readonly hash: number;
}

export const NOTHING: Folded = { count: 0, hash: 7 };

export function fold({ count, hash }: Folded, n: number, version: number): Folded {
  return { count: count + 1, hash: (hash * (31 + version) + n) % 1_000_003 };
}

/** The event types that a processor handles. */
export function handles({ name }: ProcessorSpec, { type }: Pick<KnownEvent, 'type'>): boolean {
  return type === 'Moved' || (type === 'Renamed' && (name === 'totals' || name === 'mails'));
}

/** The sequence of an event. */
export function sequenceOf(
  { name, key }: ProcessorSpec,
  { stream, group }: Pick<KnownEvent, 'stream' | 'group'>,
): string {
  if (key === 'group') return group;
  return name === 'totals' ? stream.slice(stream.indexOf('-') + 1) : stream;
}

/** How often an event fails: always, so many times, or never (0). */
export function failuresOf(seed: number, { name, poison, onError }: ProcessorSpec, n: number): number {
  const random = new Random(seed, n, ...Buffer.from(name));
  if (!random.chance(poison / 100)) return 0;
  return onError !== 'stop' && random.chance(0.4) ? Infinity : random.between(1, 6);
}

/** What the handlers of one process work with. */
export interface HandlerContext {
  readonly seed: number;
  readonly world: World;
  readonly process: SimulatedProcess;
  readonly ledger: Ledger;
  /** The lease that the process has been given last. */
  readonly newestLease: (processor: string, generation: number) => Lease | undefined;
}

/** The errors of a spec's processor, with little patience. */
function errorsOf({ onError, partitions }: ProcessorSpec): DeliveryOptions {
  return {
    onError,
    partitions,
    retry: { maxAttempts: 2, firstDelayMs: 50 },
    deadLetters: { retryAfterMs: [500, 3000] },
  };
}

/** The document projection: keyed by its sequences. */
export function totals(spec: ProcessorSpec, version: number, context: HandlerContext): Projection {
  // It changes the document in place: one that is kept must not show what was undone.
  const onEvent = (document: Folded, { data }: { readonly data: Body }): void => {
    context.ledger.attempt(spec, data.n);
    Object.assign(document, fold(document, data.n, version));
  };
  const key = ({ data }: { readonly data: unknown }): string => (data as Body).group;
  return documentProjection('totals', {
    ...errorsOf(spec),
    version,
    initial: () => ({ ...NOTHING }),
    ...(spec.key === 'group' && { key }),
  })
    .on(Moved, onEvent)
    .on(Renamed, onEvent);
}

/** The custom projection, which also tells somebody of what it handles for the first time. */
export function chain(spec: ProcessorSpec, version: number, context: HandlerContext): Projection {
  const { process, ledger } = context;
  return customProjection('chain', {
    ...errorsOf(spec),
    version,
    documents: ['chain'],
    ...(spec.key === 'group' && { sequence: ({ data }) => (data as Body).group }),
  }).on(Moved, async ({ position, stream, data }, { documents, effect }) => {
    if (process.chance(0.1)) await process.inside('handles');
    const access = documents('chain');
    const key = sequenceOf(spec, { stream, group: data.group });
    const before = ((await access.getMany([key])).get(key) ?? NOTHING) as Folded;
    ledger.attempt(spec, data.n);
    await effect(() => ledger.notified(position));
    await access.putMany(new Map([[key, fold(before, data.n, version)]]));
  });
}

/** A delivery at least once. */
export function mails(spec: ProcessorSpec, context: HandlerContext): Delivery {
  return deliveryOf(spec, errorsOf(spec), [Moved, Renamed], context);
}

/** A delivery at most once. */
export function pings(spec: ProcessorSpec, context: HandlerContext): Delivery {
  const { partitions } = spec;
  return deliveryOf(spec, { partitions, guarantee: 'atMostOnce' }, [Moved], context);
}

const currentLease = new AsyncLocalStorage<Lease>();

function deliveryOf(
  spec: ProcessorSpec,
  options: DeliveryOptions,
  types: readonly (typeof Moved | typeof Renamed)[],
  context: HandlerContext,
): Delivery {
  const { process, ledger } = context;
  const handler: DeliveryHandler<unknown, StateUnit> = async ({ position, data }, { replaying }) => {
    const lease = currentLease.getStore();
    if (!lease) throw new Error('A delivery is handled without a lease');
    await process.external(`${spec.name} handles ${position}`, () =>
      ledger.deliver(spec, { lease, position, replaying, n: (data as Body).n }),
    );
  };
  const sequence = spec.key === 'group' ? { sequence: sequenceByGroup } : {};
  return new WatchedDelivery(
    context,
    spec.name,
    { ...options, ...sequence },
    types,
    new Map(types.map(({ type }) => [type, handler])),
  );
}

const sequenceByGroup: DeliveryOptions['sequence'] = ({ data }) => (data as Body).group;

/** A delivery whose handlers know under which lease they run. */
class WatchedDelivery extends Delivery {
  readonly #context: HandlerContext;

  constructor(context: HandlerContext, ...rest: ConstructorParameters<typeof Delivery>) {
    super(...rest);
    this.#context = context;
  }

  override handler(generation = 0): ReturnType<Delivery['handler']> {
    const inner = super.handler();
    const lease = this.#context.newestLease(this.name, generation);
    // Somebody may only want to know what kind of handler it is.
    if (!('handle' in inner)) return inner;
    return {
      handle: (events, context) => {
        if (!lease) throw new Error(`"${this.name}" is handled without a lease`);
        this.#context.world.leases.begun(lease);
        return currentLease.run(lease, () => inner.handle(events, context));
      },
    };
  }
}
