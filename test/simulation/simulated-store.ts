import {
  EventReader,
  type AppendResult,
  type DocumentAccess,
  type Generation,
  type Lease,
  type MemoryStore,
  type MemoryUnit,
  type Move,
  type NewEvent,
  type PartitionKey,
} from '@refold/core';
import type { SimulatedProcess } from './simulated-process.js';
import type { World } from './world.js';

/** Calls that change something, and those that only look. */
const WRITES = new Set([
  ...['append', 'acquireLease', 'renewLeases', 'releaseLease', 'recordFailure', 'advanceAll', 'beginAttempt'],
  ...['splitPartition', 'mergePartitions', 'setPaused', 'announceWorker', 'withdrawWorker'],
  ...['retryDeadLetters', 'discardDeadLetters'],
  ...['createGeneration', 'dropGeneration', 'reopenGeneration'],
]);
const LOOKS = new Set([
  ...['partitions', 'pausedProcessors', 'workers', 'deadLetters', 'countDeadLetters', 'parkedSequences'],
  ...['dueDeadLetters', 'generations', 'head', 'steering', 'unprocessed'],
]);

/** How often a transaction takes its time. */
const SLOW_TRANSACTIONS = 0.15;

type Call = (...args: unknown[]) => Promise<unknown>;

/** A generation that became live in the place of another. */
interface Activation {
  readonly processor: string;
  readonly generation: number;
  readonly replaced: number | undefined;
}

/**
 * The store as one process sees it: every call, and every answer, waits for the scheduler and may fail. What calls lead to
 * is told to the world.
 */
export function simulatedStore(
  world: World,
  process: SimulatedProcess,
  onLease: (lease: Lease) => void,
): MemoryStore {
  const special: Record<string, (...args: never[]) => unknown> = {
    readAll: (...args: Parameters<MemoryStore['readAll']>) =>
      pages(process, 'readAll', world.store.readAll(...args)),
    readStream: (...args: Parameters<MemoryStore['readStream']>) =>
      pages(process, 'readStream', world.store.readStream(...args)),
    changes: async (after: number, signal?: AbortSignal) => {
      await world.store.changes(after, signal);
      await process.turn('hears of events', { signal });
      return world.store.head();
    },
    documentsOf: (collection: string, generation: number): Pick<DocumentAccess, 'getMany'> => ({
      getMany: (keys) =>
        process.call(`reads ${collection}`, false, () =>
          world.store.documentsOf(collection, generation).getMany(keys),
        ),
    }),
    transaction: (work: (unit: MemoryUnit) => Promise<unknown>) => transaction(world, process, work),
  };
  const calls = new Map<string, unknown>(Object.entries(special));
  return new Proxy(world.store, {
    get(target, name) {
      const known = calls.get(String(name));
      if (known !== undefined) return known;
      const found: unknown = Reflect.get(target, name);
      if (typeof found !== 'function') return found;
      const bound = found.bind(target) as Call;
      const label = String(name);
      if (!WRITES.has(label) && !LOOKS.has(label)) return bound;
      const call: Call = async (...args) => {
        const result = await process.call(labelOf(label, args), WRITES.has(label), async () => {
          const done = await bound(...args);
          await tell(world, label, args, done);
          return done;
        });
        if (label === 'acquireLease' && result) onLease(result as Lease);
        if (label === 'renewLeases') toldOf(world, args, result);
        return result;
      };
      calls.set(label, call);
      return call;
    },
  });
}

function pages(process: SimulatedProcess, label: string, reader: EventReader): EventReader {
  return new EventReader(
    (async function* () {
      const source = reader.batches()[Symbol.asyncIterator]();
      for (;;) {
        const next = await process.call(label, false, () => source.next());
        if (next.done === true) return;
        yield next.value;
      }
    })(),
  );
}

function transaction(
  world: World,
  process: SimulatedProcess,
  work: (unit: MemoryUnit) => Promise<unknown>,
): Promise<unknown> {
  return process.call('transaction', true, () =>
    world.store.transaction(async (unit) => {
      const slow = process.chance(SLOW_TRANSACTIONS);
      if (slow) await process.inside('begins');
      const moves: Move[] = [];
      const activated: Activation[] = [];
      const result = await work(watched(world, unit, moves, activated));
      if (slow) await process.inside('commits');
      // Nothing else is written before this transaction is committed.
      for (const move of moves) {
        const { processor, generation } = move.lease;
        const swapped = activated.some((one) => one.processor === processor && one.generation === generation);
        // A swap moves what nobody holds.
        world.scheduler.note(describe(move));
        if (!swapped) world.leases.committed(move);
      }
      for (const { processor, generation, replaced } of activated) {
        world.scheduler.note(`swaps ${processor} generation ${generation} in for ${replaced}`);
        if (replaced !== undefined) world.leases.fenced(processor, replaced);
      }
      return result;
    }),
  );
}

/** A unit that notes what it writes. */
function watched(world: World, unit: MemoryUnit, moves: Move[], activated: Activation[]): MemoryUnit {
  return new Proxy(unit, {
    get(target, name) {
      if (name === 'advance') {
        const advance: MemoryUnit['advance'] = async (lease, from, to) => {
          await target.advance(lease, from, to);
          moves.push({ lease, from, to });
        };
        return advance;
      }
      if (name === 'activate') {
        const activate: MemoryUnit['activate'] = async (processor, generation) => {
          const live = await target.live(processor);
          const replaced = { processor, generation: live?.generation.generation ?? 0, limit: 10_000 };
          const letters = await world.store.deadLetters(replaced);
          const givenUp = await world.store.deadLetters({ ...replaced, discarded: true });
          await target.activate(processor, generation);
          const next = await target.live(processor);
          if (next) world.activated(processor, next, live, [...letters, ...givenUp]);
          activated.push({ processor, generation, replaced: live?.generation.generation });
        };
        return activate;
      }
      const found: unknown = Reflect.get(target, name);
      return typeof found === 'function' ? (found.bind(target) as Call) : found;
    },
  });
}

/** Tells the world what a call has led to. */
async function tell(world: World, label: string, args: readonly unknown[], result: unknown): Promise<void> {
  const { leases, store } = world;
  switch (label) {
    case 'append':
      return world.appended(args[0] as string, args[1] as NewEvent[], result as AppendResult);
    case 'acquireLease':
      world.scheduler.note(result ? `granted token ${(result as Lease).token}` : 'refused');
      if (result) leases.granted(result as Lease);
      return;
    case 'advanceAll':
      (args[0] as Move[]).forEach((move, index) => {
        if (!(result as boolean[])[index]) return;
        world.scheduler.note(describe(move));
        leases.committed(move);
      });
      return;
    case 'splitPartition':
    case 'mergePartitions': {
      const partition = args[0] as PartitionKey;
      return leases.reshaped(partition, await store.partitions(partition.processor));
    }
    case 'setPaused':
      if (args[1] === true && (args[2] as { fence?: boolean } | undefined)?.fence) {
        leases.fenced(args[0] as string);
      }
      return;
    case 'createGeneration':
      return world.began(args[0] as string, (result as Generation).startedAfter);
    case 'dropGeneration':
      return leases.fenced(args[0] as string, args[1] as number);
    default:
  }
}

function toldOf(world: World, args: readonly unknown[], result: unknown): void {
  (args[0] as Lease[]).forEach((lease, index) => {
    if (!(result as boolean[])[index]) world.leases.told(lease);
  });
}

function describe({ lease: { processor, generation, firstSlice, token }, from, to }: Move): string {
  return `moves ${processor}/${firstSlice} of generation ${generation} from ${from} to ${to} with token ${token}`;
}

function labelOf(label: string, args: readonly unknown[]): string {
  const [first, second] = args;
  if (typeof first === 'string') return `${label} ${first}${typeof second === 'boolean' ? ` ${second}` : ''}`;
  if (typeof first !== 'object' || first === null || !('processor' in first)) return label;
  const { processor, firstSlice } = first as PartitionKey;
  return `${label} ${processor}${firstSlice === undefined ? '' : `/${firstSlice}`}`;
}
