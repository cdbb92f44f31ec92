import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  Aggregate,
  aggregate,
  applies,
  defineEvent,
  documentProjection,
  event,
  memoryStore,
  silentLogger,
  type Application,
  type DocumentProjection,
  type Projection,
  type ProcessorMode,
  type StateUnit,
  type Store,
  type WorkerOptions,
} from '@refold/core';
import { postgresStore } from '@refold/postgres';
import { sqliteStore } from '@refold/sqlite';
import { after } from 'mocha';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from '../postgres/server.js';

/** The stores that every processor test runs on. */
export const stores: { readonly name: string; readonly open: (folder: string) => Promise<Store> }[] = [
  { name: 'memory', open: () => Promise.resolve(memoryStore()) },
  { name: 'SQLite', open: (folder) => sqliteStore(join(folder, 'test.db'), { durability: 'normal' }) },
  { name: 'PostgreSQL', open: openSchema },
];

const schemas = new Set<string>();

after(async () => {
  // A private server goes with all that is in it, and may have been ended already.
  if (!process.env.DATABASE_URL) return stopTestDatabase();
  const sql = postgres(await testDatabase(), { max: 1, onnotice: () => {} });
  for (const schema of schemas) await sql.unsafe(`drop schema "${schema}" cascade`);
  await sql.end();
});

/** A schema of its own for each folder. */
async function openSchema(folder: string): Promise<Store> {
  const schema = `processors ${basename(folder)}`;
  schemas.add(schema);
  return postgresStore(await testDatabase(), { schema, logger: silentLogger });
}

@event('Deposited')
export class Deposited {
  constructor(readonly amount: number) {}
}

@event('Withdrawn')
export class Withdrawn {
  constructor(readonly amount: number) {}
}

export const Noted = defineEvent('Noted', (text: string) => ({ text }));

@aggregate('account', { events: [Noted] })
export class Account extends Aggregate {
  balance = 0;

  deposit(amount: number): void {
    this.record(new Deposited(amount));
  }

  withdraw(amount: number): void {
    if (amount > this.balance) throw new RangeError(`only ${this.balance} left`);
    this.record(new Withdrawn(amount));
  }

  note(text: string): void {
    this.record(Noted(text));
  }

  @applies(Deposited)
  protected deposited({ amount }: Deposited): void {
    this.balance += amount;
  }

  @applies(Withdrawn)
  protected withdrawn({ amount }: Withdrawn): void {
    this.balance -= amount;
  }
}

export interface Balance {
  total: number;
  moves: number;
}

/** The balance of every account; `broken` names an amount at which its handler throws. */
export function balances({
  name = 'balances',
  version = 1,
  mode,
  partitions,
  broken = () => false,
}: {
  name?: string;
  version?: number;
  mode?: ProcessorMode;
  partitions?: number;
  broken?: (amount: number) => boolean;
} = {}): DocumentProjection<Balance> {
  return documentProjection(name, {
    version,
    mode,
    partitions,
    initial: (): Balance => ({ total: 0, moves: 0 }),
  })
    .on(Deposited, (document, { data }) => {
      if (broken(data.amount)) throw new Error(`cannot handle ${data.amount}`);
      document.total += data.amount;
      document.moves += 1;
    })
    .on(Withdrawn, ({ total, moves }, { data }) => ({ total: total - data.amount, moves: moves + 1 }));
}

/** What the handlers of a projection must have led to, by a plain loop over the log. */
export async function expectedBalances(store: Store, after = 0): Promise<Map<string, Balance>> {
  const expected = new Map<string, Balance>();
  for await (const { stream, type, data } of store.readAll({ after })) {
    if (type !== 'Deposited' && type !== 'Withdrawn') continue;
    const key = stream.slice('account-'.length);
    const { total, moves } = expected.get(key) ?? { total: 0, moves: 0 };
    const { amount } = data as { amount: number };
    expected.set(key, { total: total + (type === 'Deposited' ? amount : -amount), moves: moves + 1 });
  }
  return expected;
}

/** Every document of a live read model. */
export async function documentsOf(store: Store, name: string): Promise<Map<string, unknown>> {
  const all = new Map<string, unknown>();
  for await (const [key, document] of store.documents(name).entries()) all.set(key, document);
  return all;
}

export type AnyProjection = Projection<StateUnit>;

/** A folder of its own for each test, and what is to be closed after it. */
export class Fixture {
  readonly #closing: (() => Promise<unknown>)[] = [];
  #folder: string | undefined;

  async folder(): Promise<string> {
    return (this.#folder ??= await mkdtemp(join(tmpdir(), 'refold-')));
  }

  /** Runs at the end, the last one first. */
  defer(close: () => Promise<unknown>): void {
    this.#closing.unshift(close);
  }

  async end(): Promise<void> {
    for (const close of this.#closing.splice(0)) await close();
    if (this.#folder) await rm(this.#folder, { recursive: true });
    this.#folder = undefined;
  }
}

/** Runs a worker until the end of the test. */
export function workUntilTheEnd(
  app: Application,
  fixture: Fixture,
  options: WorkerOptions = {},
): { readonly stop: () => Promise<void>; readonly ended: Promise<void> } {
  const controller = new AbortController();
  const ended = app.worker({ leaseMs: 1000, ...options }).run({ signal: controller.signal });
  ended.catch(() => undefined);
  const stop = (): Promise<void> => {
    controller.abort();
    return ended;
  };
  fixture.defer(() => stop().catch(() => undefined));
  return { stop, ended };
}

/** Waits for a condition, for 50 seconds at most: a test that is over leaves nothing running. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 50_000;
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error('What the test waits for has not come within 50 seconds');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A store with some of its methods replaced. */
export function overriding(store: Store, methods: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name in methods) return Reflect.get(methods, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
