import { eventAt, type Deposited, type Withdrawn } from '../accounts.js';
import type { Bench, Case, Peer } from '../harness.js';
import type { Emmett } from './emmett.js';
import { countOf, equalTails, stream, tailOf, type Logs } from './logs.js';
import { pgbench } from './pgbench.js';

const BATCH = 100;

/** Connections of raw and of pgbench; the store's pool and Emmett's have as many. */
const CONNECTIONS = 10;

/** Appends to accounts of the log: one at a time, in batches, and from many callers at once. */
export async function compareAppends(bench: Bench, logs: readonly Logs[], emmett: Emmett): Promise<void> {
  const lanes = logs.map((one, index) => new AppendLane(one, index === 0 ? emmett : undefined));
  const compare = (name: string, ratio: number | undefined, caseOf: (lane: AppendLane) => Case<void>) =>
    bench.compare({
      name,
      unit: 'events',
      // Many short rounds: a busy disk then slows down a few of them, for all sides.
      rounds: bench.quick ? 2 : 25,
      bar: ratio === undefined ? undefined : { ratio },
      cases: lanes.map(caseOf),
    });
  const some = bench.quick ? 50 : 200;
  await compare('append 1 at a time', 0.85, (lane) => lane.oneEach(1, some));
  await compare('append 100 at a time', 0.8, (lane) => lane.batches(some / 10));
  await compare('10 callers at once, 1 event each', undefined, (lane) => lane.oneEach(10, 4 * some));
  await compare('100 callers at once, 1 event each', 4, (lane) => lane.oneEach(100, 10 * some));
}

type Append = (stream: string, events: readonly (Deposited | Withdrawn)[]) => Promise<unknown>;

/** Both sides append the same events to the same streams, so that their tables can be held against each other. */
class AppendLane {
  readonly #logs: Logs;
  readonly #emmett: Emmett | undefined;
  /** The number of the next event, and the positions behind which both sides append it. */
  #next: number;
  #heads: { ours: number; raw: number };

  constructor(logs: Logs, emmett: Emmett | undefined) {
    this.#logs = logs;
    this.#emmett = emmett;
    this.#next = logs.length;
    this.#heads = { ours: logs.length, raw: logs.length };
  }

  /** So many callers at once, each of which appends its next event when its last one is committed. */
  oneEach(callers: number, count: number): Case<void> {
    const { application, raw } = this.#logs;
    const run = (append: Append) => () => fromCallers(callers, this.#next, count, append);
    const ordered: Append = (name, [event]) =>
      event ? raw.appendInOrder(`ordered-${name}`, event) : Promise.resolve();
    return {
      ...this.#case(count),
      ours: run((name, events) => application.append(name, events)),
      raw: run((name, [event]) => (event ? raw.appendOne(name, event) : Promise.resolve())),
      peers: [
        this.#rawPeer('the same under a lock, in commit order', 'ordered-', count, run(ordered)),
        ...(callers > 1 ? [this.#together(callers, count)] : []),
        ...this.#emmettPeer(Math.min(count, 400), (first, n, append) =>
          fromCallers(callers, first, n, append),
        ),
        ...pgbench(this.#logs, Math.min(callers, CONNECTIONS), count),
      ],
    };
  }

  /** Events of one stream, 100 at a time. */
  batches(batches: number): Case<void> {
    const { application, raw } = this.#logs;
    const count = batches * BATCH;
    return {
      ...this.#case(count),
      ours: () => inBatches(this.#next, count, (name, events) => application.append(name, events)),
      raw: () => inBatches(this.#next, count, (name, events) => raw.appendMany(name, events)),
      peers: this.#emmettPeer(count, inBatches),
    };
  }

  #case(count: number): Pick<Case<void>, 'length' | 'n' | 'correct'> {
    return {
      length: this.#logs.length,
      n: count,
      correct: async () => {
        const ours = await tailOf(this.#logs, 'refold', this.#heads.ours);
        const raw = await tailOf(this.#logs, 'raw', this.#heads.raw);
        const before = this.#heads;
        this.#next += count;
        this.#heads = { ours: ours.head, raw: raw.head };
        return ours.head === before.ours + count && equalTails(ours, raw, count);
      },
    };
  }

  /** What could at best be done for all callers: one statement for an event of each. */
  #together(callers: number, count: number): Peer {
    return this.#rawPeer('one statement for all callers', 'together-', count, async () => {
      for (let first = this.#next; first < this.#next + count; first += callers) {
        const indexes = Array.from({ length: callers }, (_, caller) => first + caller);
        const streams = indexes.map((index) => `together-${streamAt(index)}`);
        await this.#logs.raw.appendTogether(streams, indexes.map(eventAt));
      }
    });
  }

  /** Another hand-written way, which appends to streams of its own. */
  #rawPeer(name: string, prefix: string, count: number, run: () => Promise<void>): Peer {
    let before = 0;
    return {
      name,
      n: count,
      run: async () => {
        await run();
        return async () => {
          const found = await countOf(this.#logs, prefix);
          const complete = before === 0 || found === before + count;
          before = found;
          return complete;
        };
      },
    };
  }

  #emmettPeer(count: number, run: (first: number, count: number, append: Append) => Promise<void>): Peer[] {
    const emmett = this.#emmett;
    if (!emmett) return [];
    return [
      {
        name: 'Emmett',
        n: count,
        run: async () => {
          const before = await emmett.count();
          await run(this.#next, count, (name, events) => emmett.append(name, events));
          return async () => (await emmett.count()) === before + count;
        },
      },
    ];
  }
}

async function fromCallers(callers: number, first: number, count: number, append: Append): Promise<void> {
  const caller = async (offset: number): Promise<void> => {
    for (let index = first + offset; index < first + count; index += callers) {
      await append(streamAt(index), [eventAt(index)]);
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, offset) => caller(offset)));
}

async function inBatches(first: number, count: number, append: Append): Promise<void> {
  for (let index = first; index < first + count; index += BATCH) {
    await append(
      streamAt(index),
      Array.from({ length: BATCH }, (_, offset) => eventAt(index + offset)),
    );
  }
}

/** Scattered over the accounts, and no two callers at once on the same: the factor and the number have no common divisor. */
function streamAt(index: number): string {
  return stream(String((index * 7919) % 9989));
}
