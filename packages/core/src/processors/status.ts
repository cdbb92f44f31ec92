import { ProcessorStoppedError, WaitTimeoutError } from '../errors.js';
import type { Failure, Partition, SliceRange } from '../store/processor-state.js';
import type { Generation, StateUnit } from '../store/state-store.js';
import type { ProcessorContext } from './context.js';
import { holderOf } from './fair-share.js';
import type { LaneReport } from './lane.js';
import type { Guarantee, Processor, ProcessorMode } from './processor.js';

/**
 * - `running`: a worker holds all of it (or appends keep it, for an inline one)
 * - `partial`: some of its partitions are held by nobody
 * - `idle`: nobody holds it
 * - `paused`: by command, until it is resumed
 * - `stopped`: its handler failed, see `failure`
 * - `new`: nothing ever ran it
 */
export type ProcessorRunState = 'running' | 'partial' | 'idle' | 'paused' | 'stopped' | 'new';

/** What a partition's worker is trying again. */
export interface RetryStatus {
  readonly message: string;
  /** The event's position. */
  readonly position: number;
  readonly attempts: number;
  readonly since: Date;
}

/** Where one partition of the live generation is. */
export interface PartitionStatus extends SliceRange {
  readonly position: number;
  /** Events of the log behind which it is. */
  readonly lag: number;
  readonly holder: string | undefined;
  /** Events that its worker handled a second, lately; undefined while nobody tells. */
  readonly rate: number | undefined;
  /** Why it stopped. */
  readonly failure: Failure | undefined;
  readonly retrying: RetryStatus | undefined;
}

/** Where one processor is. */
export interface ProcessorStatus {
  readonly name: string;
  readonly mode: ProcessorMode;
  readonly guarantee: Guarantee;
  /** The version that this code declares. */
  readonly version: number;
  /** The version that readers see; undefined while there is none. */
  readonly liveVersion: number | undefined;
  readonly state: ProcessorRunState;
  /** Everything up to here is done, in all partitions. */
  readonly position: number;
  readonly head: number;
  /** Events of the log behind which it is: `head - position`. */
  readonly lag: number;
  /** How long ago the next event was recorded, in milliseconds; 0 at the head. */
  readonly lagMs: number;
  /** Who holds the partition that is least far. */
  readonly holder: string | undefined;
  /** Why it stopped: the message and the event it stopped at. */
  readonly failure: Failure | undefined;
  /** Letters that hold back their sequences. */
  readonly deadLetters: number;
  readonly partitions: readonly PartitionStatus[];
  /** A build beside the live one, if there is one. */
  readonly building: { readonly version: number; readonly position: number } | undefined;
  /** What a rollback would put back, if there is something. */
  readonly replaced: { readonly version: number } | undefined;
}

/** How long `waitFor` waits. */
export interface WaitOptions {
  /** Default 30,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** How often a waiting caller looks while nothing in its own process wakes it. */
const POLL_MS = 20;

/** The status of several processors. */
export async function statusOf<Unit extends StateUnit>(
  processors: readonly Processor<Unit>[],
  context: ProcessorContext<Unit>,
): Promise<ProcessorStatus[]> {
  const { state, log } = context;
  // The checkpoints first: read the other way round, one could be ahead of the head.
  const found = await Promise.all(processors.map(({ name }) => generationsOf(name, context)));
  const [head, paused, workers, letters] = await Promise.all([
    log.head(),
    state.pausedProcessors(),
    state.workers(),
    state.countDeadLetters(),
  ]);
  const reports = reportsOf(workers.map(({ report }) => report));
  const known = { head, paused: new Set(paused), reports, letters };
  return Promise.all(processors.map((one, index) => describe(one, found[index] ?? NOTHING, known, context)));
}

interface Known {
  readonly head: number;
  readonly paused: ReadonlySet<string>;
  /** What workers say of partitions, by processor and first slice. */
  readonly reports: ReadonlyMap<string, LaneReport>;
  readonly letters: readonly {
    readonly processor: string;
    readonly generation: number;
    readonly count: number;
  }[];
}

async function describe<Unit extends StateUnit>(
  processor: Processor<Unit>,
  { live, building, replaced }: Found,
  { head, paused, reports, letters }: Known,
  context: ProcessorContext<Unit>,
): Promise<ProcessorStatus> {
  const now = context.clock.now();
  const { name, mode, guarantee, version } = processor;
  const partitions = (live?.partitions ?? []).map((one) => describePartition(one, head, now, reports));
  const least = partitions[0];
  const position = least?.position ?? 0;
  return {
    ...{ name, mode, guarantee, version },
    liveVersion: live?.generation.version,
    state: paused.has(name) ? 'paused' : stateOf(mode, partitions),
    position,
    head,
    lag: Math.max(0, head - position),
    lagMs: head > position ? await ageOfNext(position, context) : 0,
    holder: least?.holder,
    failure: [...(live?.partitions ?? []), ...(building?.partitions ?? [])].find((one) => one.failure)
      ?.failure,
    deadLetters:
      letters.find((one) => one.processor === name && one.generation === live?.generation.generation)
        ?.count ?? 0,
    partitions: [...partitions].sort((a, b) => a.firstSlice - b.firstSlice),
    building: building && {
      version: building.generation.version,
      position: building.partitions[0]?.position ?? building.generation.startedAfter,
    },
    replaced: replaced && { version: replaced.version },
  };
}

function describePartition(
  { processor, firstSlice, lastSlice, position, failure, ...partition }: Partition,
  head: number,
  now: number,
  reports: ReadonlyMap<string, LaneReport>,
): PartitionStatus {
  const holder = holderOf({ processor, firstSlice, lastSlice, position, ...partition }, now);
  const report = holder === undefined ? undefined : reports.get(`${processor} ${firstSlice}`);
  return {
    ...{ firstSlice, lastSlice, position, holder, failure },
    lag: Math.max(0, head - position),
    rate: report?.rate,
    retrying: report?.retrying && { ...report.retrying, since: new Date(report.retrying.since) },
  };
}

async function ageOfNext<Unit extends StateUnit>(
  position: number,
  { log, clock }: ProcessorContext<Unit>,
): Promise<number> {
  const [next] = await log.readAll({ after: position, limit: 1 }).toArray();
  return next ? Math.max(0, clock.now() - next.recordedAt.getTime()) : 0;
}

/** What workers have reported; other releases may say other things. */
function reportsOf(reports: readonly unknown[]): Map<string, LaneReport> {
  const all = new Map<string, LaneReport>();
  for (const report of reports) {
    if (!Array.isArray(report)) continue;
    for (const { processor, lanes } of report as WorkerReport[]) {
      for (const lane of lanes) all.set(`${processor} ${lane.firstSlice}`, lane);
    }
  }
  return all;
}

/** What a worker says of its work in the list of workers. */
export type WorkerReport = { readonly processor: string; readonly lanes: readonly LaneReport[] };

/** See `Application.waitFor`. */
export async function waitForPosition<Unit extends StateUnit>(
  { name, version }: Processor<Unit>,
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
    const reached = own?.partitions[0]?.position ?? 0;
    if (own && own === live && reached >= position) return;
    const failure = own?.partitions.find((one) => one.failure)?.failure;
    if (failure) throw new ProcessorStoppedError(name, failure.event, new Error(failure.message));
    const left = deadline - clock.now();
    if (left <= 0) throw new WaitTimeoutError(name, position, reached, timeoutMs);
    await commits.wait(Math.min(POLL_MS, left), clock, signal);
  }
}

interface GenerationStatus {
  readonly generation: Generation;
  /** The one that is least far first. */
  readonly partitions: readonly Partition[];
}

interface Found {
  readonly live?: GenerationStatus;
  readonly building?: GenerationStatus;
  readonly replaced?: Generation;
}

const NOTHING: Found = {};

async function generationsOf<Unit extends StateUnit>(
  name: string,
  { state }: ProcessorContext<Unit>,
): Promise<Found> {
  const [generations, partitions] = await Promise.all([state.generations(name), state.partitions(name)]);
  const find = (status: Generation['status']): GenerationStatus | undefined => {
    const generation = generations.findLast((one) => one.status === status && !one.shadow);
    if (!generation) return undefined;
    const own = partitions.filter((one) => one.generation === generation.generation);
    return { generation, partitions: own.sort((a, b) => a.position - b.position) };
  };
  const replaced = generations.findLast(({ status }) => status === 'retired');
  return { live: find('live'), building: find('building'), replaced };
}

function stateOf(mode: ProcessorMode, partitions: readonly PartitionStatus[]): ProcessorRunState {
  if (partitions.length === 0) return 'new';
  if (partitions.some(({ failure }) => failure)) return 'stopped';
  const held = partitions.filter(({ holder }) => holder !== undefined).length;
  if (mode === 'inline' || held === partitions.length) return 'running';
  return held > 0 ? 'partial' : 'idle';
}
