import { accountAt, eventAt } from '../accounts.js';
import type { Bench, Case } from '../harness.js';
import { stream, type Logs } from './logs.js';
import type { Tail } from './raw.js';

const CALLERS = 100;
const BATCH = 100;

/** Appends to random accounts of the log: one at a time, in batches, and from many callers at once. */
export async function compareAppends(bench: Bench, logs: readonly Logs[]): Promise<void> {
  const rounds = bench.quick ? 5 : 9;
  const turns = bench.quick ? 20 : 50;
  const lanes = logs.map((one) => new AppendLane(one));
  await bench.compare({
    name: 'append 1 at a time',
    unit: 'events',
    rounds,
    cases: lanes.map((lane) => lane.case(bench.quick ? 500 : 1000, oursOne, rawOne)),
  });
  await bench.compare({
    name: 'append 100 at a time',
    unit: 'events',
    rounds,
    bar: { ratio: 0.7 },
    cases: lanes.map((lane) => lane.case(BATCH * turns, oursBatches, rawBatches)),
  });
  await bench.compare({
    name: '100 callers at once, 1 event each, raw being one transaction each',
    unit: 'events',
    rounds,
    bar: { ratio: 5 },
    cases: lanes.map((lane) => lane.case(CALLERS * turns, oursAtOnce, rawOne)),
  });
  await bench.compare({
    name: '100 callers at once, 1 event each, raw being one transaction for all',
    unit: 'events',
    rounds,
    cases: lanes.slice(-1).map((lane) => lane.case(CALLERS * turns, oursAtOnce, rawTogether)),
  });
}

type Append = (logs: Logs, first: number, count: number) => void | Promise<void>;

/** Both sides append the same events to the same streams, so that their files can be held against each other. */
class AppendLane {
  readonly #logs: Logs;
  /** The number of the next event, and the head of both logs. */
  #next: number;
  #head: number;

  constructor(logs: Logs) {
    this.#logs = logs;
    this.#next = logs.length;
    this.#head = logs.raw.head();
  }

  case(count: number, ours: Append, raw: Append): Case<void> {
    const logs = this.#logs;
    return {
      length: logs.length,
      n: count,
      ours: () => ours(logs, this.#next, count),
      raw: () => raw(logs, this.#next, count),
      correct: () => {
        const before = this.#head;
        this.#next += count;
        this.#head += count;
        return equalTails(logs.witness.tail(before), logs.raw.tail(before), before, count);
      },
    };
  }
}

/** As many as were appended, without gaps, and in both files the same sums, of revisions too. */
function equalTails(ours: Tail, raw: Tail, before: number, count: number): boolean {
  return (
    ours.count === count &&
    ours.head === before + count &&
    raw.count === count &&
    ours.revisions === raw.revisions &&
    ours.amounts === raw.amounts
  );
}

async function oursOne(logs: Logs, first: number, count: number): Promise<void> {
  for (let index = first; index < first + count; index++) {
    await logs.application.append(streamAt(logs, index), [eventAt(index)]);
  }
}

function rawOne(logs: Logs, first: number, count: number): void {
  for (let index = first; index < first + count; index++) {
    logs.raw.appendOne(streamAt(logs, index), eventAt(index));
  }
}

async function oursBatches(logs: Logs, first: number, count: number): Promise<void> {
  for (let index = first; index < first + count; index += BATCH) {
    await logs.application.append(streamAt(logs, index), eventsAt(index, BATCH));
  }
}

function rawBatches(logs: Logs, first: number, count: number): void {
  for (let index = first; index < first + count; index += BATCH) {
    logs.raw.append([{ stream: streamAt(logs, index), events: eventsAt(index, BATCH) }]);
  }
}

async function oursAtOnce(logs: Logs, first: number, count: number): Promise<void> {
  for (let turn = first; turn < first + count; turn += CALLERS) {
    await Promise.all(
      Array.from({ length: CALLERS }, (_, caller) => {
        const index = turn + caller;
        return logs.application.append(streamAt(logs, index), [eventAt(index)]);
      }),
    );
  }
}

/** What could at best be done for all callers: one transaction of their events. */
function rawTogether(logs: Logs, first: number, count: number): void {
  for (let turn = first; turn < first + count; turn += CALLERS) {
    logs.raw.append(
      Array.from({ length: CALLERS }, (_, caller) => ({
        stream: streamAt(logs, turn + caller),
        events: [eventAt(turn + caller)],
      })),
    );
  }
}

function streamAt({ length }: Logs, index: number): string {
  return stream(accountAt(index, length));
}

function eventsAt(first: number, count: number): ReturnType<typeof eventAt>[] {
  return Array.from({ length: count }, (_, offset) => eventAt(first + offset));
}
