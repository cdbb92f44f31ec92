import { createApplication, type Application, type EventType } from '@refold/core';
import type { SqliteUnit } from '@refold/sqlite';
import { plainToInstance } from 'class-transformer';
import {
  amountsOf,
  plainEvents,
  TransformedDeposit,
  TransformedWithdrawal,
  type Movement,
} from '../accounts.js';
import type { Bench, Case } from '../harness.js';
import type { Logs } from './logs.js';

/** Reads whole logs, in every form that events can have. */
export async function compareReads(bench: Bench, logs: readonly Logs[]): Promise<void> {
  const rounds = bench.quick ? 3 : 7;
  await bench.compare({
    name: 'read and decode the log',
    unit: 'events',
    rounds,
    bar: { ratio: 0.7 },
    cases: logs.map((one) => readCase(one, readByPage)),
  });
  await bench.compare({
    name: 'read and decode the log, event by event',
    unit: 'events',
    rounds,
    cases: logs.slice(-1).map((one) => readCase(one, readByEvent)),
  });
  await compareForms(bench, logs.slice(-1));
}

/** What was read, by which a side shows that it read all of it. */
class Sum {
  events = 0;
  amounts = 0;

  add({ amount }: Pick<Movement, 'amount'>): void {
    this.events += 1;
    this.amounts += amount;
  }

  is(events: number, amounts: number): boolean {
    return this.events === events && this.amounts === amounts;
  }
}

/** Short logs are read several times a round. */
function readCase(
  { length, application, raw }: Logs,
  readAll: (application: Application<SqliteUnit>, sum: Sum) => Promise<void>,
): Case<Sum> {
  const times = Math.max(1, 50_000 / length);
  const amounts = amountsOf(length) * times;
  return {
    length,
    n: length * times,
    ours: async () => {
      const sum = new Sum();
      for (let time = 0; time < times; time++) await readAll(application, sum);
      return sum;
    },
    raw: () => {
      const sum = new Sum();
      for (let time = 0; time < times; time++) {
        for (const events of raw.read()) for (const { data } of events) sum.add(data);
      }
      return sum;
    },
    correct: (ours, other) => ours.is(length * times, amounts) && other.is(length * times, amounts),
  };
}

async function readByPage(application: Application<SqliteUnit>, sum: Sum): Promise<void> {
  for await (const { events } of application.events().batches()) {
    for (const { data } of events) sum.add(data as Movement);
  }
}

async function readByEvent(application: Application<SqliteUnit>, sum: Sum): Promise<void> {
  for await (const { data } of application.events()) sum.add(data as Movement);
}

/** The same stored events as plain data, and through class-transformer. */
async function compareForms(bench: Bench, logs: readonly Logs[]): Promise<void> {
  const limit = bench.quick ? 20_000 : 100_000;
  const compare = (form: string, events: readonly EventType[], decode: Decode): Promise<void> =>
    bench.compare({
      name: `read and decode, ${form}`,
      unit: 'events',
      rounds: bench.quick ? 3 : 5,
      cases: logs.map((one) => formCase(one, events, decode, limit)),
    });
  await compare('plain events', plainEvents, (data) => JSON.parse(data) as Movement);
  await compare('class-transformer', [TransformedDeposit, TransformedWithdrawal], decodeTransformed);
}

type Decode = (data: string, type: string) => Pick<Movement, 'amount'>;

function formCase(
  { store, raw }: Logs,
  events: readonly EventType[],
  decode: Decode,
  limit: number,
): Case<Sum> {
  const application = createApplication({ store, events });
  return {
    n: limit,
    ours: async () => {
      const sum = new Sum();
      for await (const batch of application.events({ limit }).batches()) {
        for (const { data } of batch.events) sum.add(data as Movement);
      }
      return sum;
    },
    raw: () => {
      const sum = new Sum();
      for (const rows of raw.readRows(limit)) for (const row of rows) sum.add(decode(row[7], row[4]));
      return sum;
    },
    correct: (ours, other) => ours.events === limit && other.is(limit, ours.amounts),
  };
}

function decodeTransformed(data: string, type: string): TransformedDeposit {
  const eventClass = type === 'Withdrawn' ? TransformedWithdrawal : TransformedDeposit;
  return plainToInstance(eventClass, JSON.parse(data) as object);
}
