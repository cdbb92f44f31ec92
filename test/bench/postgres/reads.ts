import { amountsOf, type Movement } from '../accounts.js';
import type { Bench, Case } from '../harness.js';
import type { Logs } from './logs.js';

/** Reads whole logs and decodes their events. */
export async function compareReads(bench: Bench, logs: readonly Logs[]): Promise<void> {
  const rounds = bench.quick ? 2 : 7;
  await bench.compare({
    name: 'read and decode the log',
    unit: 'events',
    rounds,
    bar: { ratio: 0.75 },
    cases: logs.map((one) => readCase(one, readByPage)),
  });
  await bench.compare({
    name: 'read and decode the log, event by event',
    unit: 'events',
    rounds,
    cases: logs.slice(-1).map((one) => readCase(one, readByEvent)),
  });
}

/** What was read, by which a side shows that it read all of it, in order. */
class Sum {
  events = 0;
  amounts = 0;
  inOrder = true;
  #last = 0;

  add(position: number, { amount }: Movement): void {
    this.events += 1;
    this.amounts += amount;
    if (position !== this.#last + 1) this.inOrder = false;
    this.#last = position;
  }

  /** Begins the log again. */
  restart(): void {
    this.#last = 0;
  }

  is(events: number, amounts: number): boolean {
    return this.events === events && this.amounts === amounts && this.inOrder;
  }
}

type ReadAll = (logs: Logs, sum: Sum) => Promise<void>;

/** Short logs are read several times a round. */
function readCase(logs: Logs, ours: ReadAll): Case<Sum> {
  const { length } = logs;
  const times = Math.ceil(20_000 / length);
  const amounts = amountsOf(length) * times;
  const repeat = (readAll: ReadAll) => async () => {
    const sum = new Sum();
    for (let time = 0; time < times; time++) {
      sum.restart();
      await readAll(logs, sum);
    }
    return sum;
  };
  return {
    length,
    n: length * times,
    ours: repeat(ours),
    raw: repeat(readRaw),
    correct: (own, raw) => own.is(length * times, amounts) && raw.is(length * times, amounts),
  };
}

async function readByPage({ application }: Logs, sum: Sum): Promise<void> {
  for await (const { events } of application.events().batches()) {
    for (const { position, data } of events) sum.add(position, data as Movement);
  }
}

async function readByEvent({ application }: Logs, sum: Sum): Promise<void> {
  for await (const { position, data } of application.events()) sum.add(position, data as Movement);
}

async function readRaw({ raw }: Logs, sum: Sum): Promise<void> {
  for await (const events of raw.read()) for (const { position, data } of events) sum.add(position, data);
}
