import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  openRange,
  type OpenRange,
  type PositionEntry,
  type PositionLog,
  type PositionWriter,
} from '../dist/open-range.js';

interface Place {
  readonly slice: number;
  readonly position: number;
}

type Turn = () => Promise<unknown>;

/** A compacted topic and its transactions, of which every step waits for its turn. */
class FakeTopic {
  readonly log: PositionEntry[] = [];
  readonly sent: Place[] = [];
  readonly #epochs = new Map<string, number>();
  readonly #turn: Turn;
  /** Which commits, in their order, are done without their sender hearing of it. */
  readonly #unheard: ReadonlySet<number>;
  #commits = 0;

  constructor(turn: Turn, unheard: ReadonlySet<number>) {
    this.#turn = turn;
    this.#unheard = unheard;
  }

  /** As one process sees it. */
  seen(): PositionLog<readonly Place[]> {
    const entries = new Map<string, string>();
    let read = 0;
    return {
      write: (name) => this.#write(name),
      known: async (isEnough, signal) => {
        while (!isEnough(entries)) {
          await this.#turn();
          signal.throwIfAborted();
          const next = this.log[read];
          if (!next) continue;
          read += 1;
          if (next.value === undefined) entries.delete(next.key);
          else entries.set(next.key, next.value);
        }
        return new Map(entries);
      },
    };
  }

  async #write(name: string): Promise<PositionWriter<readonly Place[]>> {
    await this.#turn();
    const epoch = (this.#epochs.get(name) ?? 0) + 1;
    this.#epochs.set(name, epoch);
    await this.#turn();
    return {
      commit: async (entries, places = []) => {
        await this.#turn();
        if (this.#epochs.get(name) !== epoch) throw new Error('fenced');
        this.log.push(...entries);
        this.sent.push(...places);
        const unheard = this.#unheard.has(this.#commits++);
        await this.#turn();
        if (unheard) throw new Error('the connection broke');
      },
      close: async () => {
        await this.#turn();
      },
    };
  }
}

const SLICES = 6;
const range = fc
  .tuple(fc.nat(SLICES - 1), fc.nat(SLICES - 1))
  .map(([one, other]) => ({ firstSlice: Math.min(one, other), lastSlice: Math.max(one, other) }));
const events = fc
  .array(fc.nat(SLICES - 1), { minLength: 4, maxLength: 12 })
  .map((slices) => slices.map((slice, index) => ({ slice, position: index + 1 })));
/** Somebody who sends one range, so many events a transaction, and ends after so many transactions. */
const sender = fc.record({
  range,
  size: fc.integer({ min: 1, max: 3 }),
  transactions: fc.integer({ min: 0, max: 6 }),
});

describe('ranges of positions', () => {
  it('send every event once and in order, whoever sends whatever range at once, and is gone', async function () {
    this.timeout(60_000);
    const unheard = fc.uniqueArray(fc.nat(40), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        ...([fc.scheduler(), events, fc.array(sender, { minLength: 2, maxLength: 5 }), unheard] as const),
        async (scheduler, log, senders, lost) => {
          const topic = new FakeTopic(() => scheduler.schedule(Promise.resolve()), new Set(lost));
          const all = senders.map((one) => send(topic, log, one));
          await scheduler.waitFor(Promise.all(all));
          const whole = { range: { firstSlice: 0, lastSlice: SLICES - 1 }, size: 3, transactions: 100 };
          await scheduler.waitFor(send(topic, log, whole));
          const inOrder = [...topic.sent].sort((one, other) => one.slice - other.slice);
          const wanted = [...log].sort((one, other) => one.slice - other.slice);
          assert.deepEqual(inOrder, wanted);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('leave no claims of those who are fenced, and no positions that tell nothing more', async () => {
    const topic = new FakeTopic(() => Promise.resolve(), new Set());
    const log = Array.from({ length: 30 }, (_, index) => ({ slice: index % SLICES, position: index + 1 }));
    const all = { firstSlice: 0, lastSlice: 5 };
    await send(topic, log.slice(0, 10), { range: all, size: 4, transactions: 100 });
    const halves = [
      { firstSlice: 0, lastSlice: 2 },
      { firstSlice: 3, lastSlice: 5 },
    ];
    for (const half of halves)
      await send(topic, log.slice(0, 20), { range: half, size: 4, transactions: 100 });
    assert.sameMembers(keysOf(topic), ['out/1/0-2', 'out/1/0-2/claim', 'out/1/3-5', 'out/1/3-5/claim']);
    await send(topic, log, { range: all, size: 4, transactions: 100 });
    assert.sameMembers(keysOf(topic), ['out/1/0-5', 'out/1/0-5/claim']);
    assert.lengthOf(topic.sent, 30);
  });
});

let words = 0;

async function send(
  topic: FakeTopic,
  log: readonly Place[],
  {
    range: own,
    size,
    transactions,
  }: { range: { firstSlice: number; lastSlice: number }; size: number; transactions: number },
): Promise<void> {
  const { signal } = new AbortController();
  const seen = topic.seen();
  const mine = log.filter(({ slice }) => own.firstSlice <= slice && slice <= own.lastSlice);
  let opened: OpenRange<readonly Place[]> | undefined;
  let at = 0;
  for (let left = transactions; left > 0 && at < mine.length; left--) {
    try {
      opened ??= await openRange(
        seen,
        { delivery: 'out', generation: 1, ...own },
        { signal, word: () => `w${words++}` },
      );
      const batch = mine.slice(at, at + size);
      const range = opened;
      const fresh = batch.filter((place) => !range.has(place));
      const last = fresh.at(-1);
      if (last) await opened.send(fresh, last.position);
      at += batch.length;
    } catch {
      // The checkpoint was never written: it begins at the beginning.
      opened = undefined;
      at = 0;
    }
  }
}

function keysOf({ log }: FakeTopic): string[] {
  const entries = new Map(log.map(({ key, value }) => [key, value]));
  return [...entries].flatMap(([key, value]) => (value === undefined ? [] : [key]));
}
