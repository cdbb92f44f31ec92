import { ProcessorStoppedError, WaitTimeoutError } from '../errors.js';
import type { Failure, Partition } from '../store/processor-state.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './processor.js';
import type { Projection, ProjectionMode } from './projection.js';

/**
 * - `running`: a worker holds it (or appends keep it, for an inline one)
 * - `idle`: nobody holds it
 * - `stopped`: its handler failed, see `failure`
 * - `new`: nothing ever ran it
 */
export type ProcessorState = 'running' | 'idle' | 'stopped' | 'new';

/** Where one processor is. */
export interface ProcessorStatus {
  readonly name: string;
  readonly mode: ProjectionMode;
  /** The version that this code declares. */
  readonly version: number;
  /** The version that readers see; undefined while there is none. */
  readonly liveVersion: number | undefined;
  readonly state: ProcessorState;
  /** Everything up to here is in the live read model. */
  readonly position: number;
  readonly head: number;
  /** Events of the log behind which it is: `head - position`. */
  readonly lag: number;
  readonly holder: string | undefined;
  /** Why it stopped: the message and the event it stopped at. */
  readonly failure: Failure | undefined;
  /** A build beside the live one, if there is one. */
  readonly building: { readonly version: number; readonly position: number } | undefined;
}

/** How long `waitFor` waits. */
export interface WaitOptions {
  /** Default 30,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** How often a waiting caller looks while nothing in its own process wakes it. */
const POLL_MS = 20;

/** The status of several projections. */
export async function statusOf<Unit extends StateUnit>(
  projections: readonly Projection<Unit>[],
  context: ProcessorContext<Unit>,
): Promise<ProcessorStatus[]> {
  // The checkpoints first: read the other way round, one could be ahead of the head.
  const found = await Promise.all(projections.map(({ name }) => generationsOf(name, context)));
  const head = await context.log.head();
  return projections.map((projection, index) => {
    const { live, building } = found[index] ?? {};
    const partition = live?.partition;
    const position = partition?.position ?? 0;
    return {
      name: projection.name,
      mode: projection.mode,
      version: projection.version,
      liveVersion: live?.generation.version,
      state: stateOf(projection, partition, context.clock.now()),
      position,
      head,
      lag: Math.max(0, head - position),
      holder: partition && isHeld(partition, context.clock.now()) ? partition.holder : undefined,
      failure: partition?.failure ?? building?.partition?.failure,
      building: building && {
        version: building.generation.version,
        position: building.partition?.position ?? building.generation.startedAfter,
      },
    };
  });
}

/** See `Application.waitFor`. */
export async function waitForPosition<Unit extends StateUnit>(
  { name, version }: Projection<Unit>,
  position: number,
  context: ProcessorContext<Unit>,
  { timeoutMs = 30_000, signal }: WaitOptions = {},
): Promise<void> {
  const { clock, commits } = context;
  const deadline = clock.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const { live, building } = await generationsOf(name, context);
    // An older version is still served while this one is built: it is not what the caller waits for.
    const own = live?.generation.version === version ? live : building;
    const reached = own?.partition?.position ?? 0;
    if (own && own === live && reached >= position) return;
    const failure = own?.partition?.failure;
    if (failure) throw new ProcessorStoppedError(name, failure.event, new Error(failure.message));
    const left = deadline - clock.now();
    if (left <= 0) throw new WaitTimeoutError(name, position, reached, timeoutMs);
    await commits.wait(Math.min(POLL_MS, left), clock, signal);
  }
}

interface Found {
  readonly generation: Generation;
  /** The partition that is least far. */
  readonly partition: Partition | undefined;
}

async function generationsOf<Unit extends StateUnit>(
  name: string,
  { state }: ProcessorContext<Unit>,
): Promise<{ live?: Found; building?: Found }> {
  const [generations, partitions] = await Promise.all([state.generations(name), state.partitions(name)]);
  const find = (status: Generation['status']): Found | undefined => {
    const generation = generations.findLast((one) => one.status === status);
    if (!generation) return undefined;
    const own = partitions.filter((one) => one.generation === generation.generation);
    return { generation, partition: own.sort((a, b) => a.position - b.position)[0] };
  };
  return { live: find('live'), building: find('building') };
}

function stateOf<Unit extends StateUnit>(
  { mode }: Projection<Unit>,
  partition: Partition | undefined,
  now: number,
): ProcessorState {
  if (!partition) return 'new';
  if (partition.failure) return 'stopped';
  return mode === 'inline' || isHeld(partition, now) ? 'running' : 'idle';
}

function isHeld({ holder, leaseExpiresAt }: Partition, now: number): boolean {
  return holder !== undefined && leaseExpiresAt !== undefined && leaseExpiresAt.getTime() > now;
}
