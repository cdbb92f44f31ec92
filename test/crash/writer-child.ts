import {
  AppendOutcomeUnknownError,
  RevisionConflictError,
  StoreUnavailableError,
  type Application,
  type AppendResult,
  type EventStore,
  type NewEvent,
  type StateUnit,
  type StreamAppend,
} from '@refold/core';
import { setTimeout as sleep } from 'node:timers/promises';
import { Account, accountIds } from './domain.js';
import { Journal, journaled, settle } from './journal.js';
import { deathAt, report, strictLogger, takeOrders, type WriterOrders } from './orders.js';
import { Random } from './random.js';
import { applicationOf, type CrashTarget } from './target.js';
import { withTarget } from './targets.js';

const CALLERS = 6;

const streams = [
  ...accountIds.map((id) => `account-${id}`),
  ...Array.from({ length: 8 }, (_, n) => `ledger-${n}`),
];

/** Settles what earlier writers left open, then appends with several callers at once until it is killed. */
async function write<Unit extends StateUnit>(target: CrashTarget<Unit>, orders: WriterOrders): Promise<void> {
  const journal = new Journal(orders.file, orders.life, {
    committed: deathAt(orders.dieAtCommit),
    acknowledged: () => report('step'),
  });
  const store = await target.open(orders.place);
  const app = applicationOf(target, journaled(store, journal), orders.version, {
    onHandling: deathAt(orders.dieAtEvent),
    logger: strictLogger,
  });
  await settle(store, orders.earlier, journal);
  report('ready');
  const callers = Array.from({ length: CALLERS }, (_, number) =>
    new Caller(number, orders, app, store, journal).run(),
  );
  await Promise.all(callers);
}

/** One of the callers of a writer; what it asks for follows from the seed. */
class Caller<Unit extends StateUnit> {
  readonly #random: Random;
  readonly #name: string;
  readonly #idPrefix: string;
  readonly #app: Application<Unit>;
  readonly #store: EventStore<Unit>;
  readonly #journal: Journal;
  #events = 0;

  constructor(
    number: number,
    { seed, life }: WriterOrders,
    app: Application<Unit>,
    store: EventStore<Unit>,
    journal: Journal,
  ) {
    this.#random = new Random(seed, life, number);
    this.#name = `${life}.${number}`;
    this.#idPrefix = `${hex(life, 8)}-${hex(number, 4)}-4000-8000`;
    this.#app = app;
    this.#store = store;
    this.#journal = journal;
  }

  async run(): Promise<never> {
    for (;;) {
      if (this.#random.chance(0.5)) await this.#update();
      else await this.#append();
    }
  }

  /** Through the repository, with the inline projection in the same transaction. */
  async #update(): Promise<void> {
    const random = this.#random;
    const [id = ''] = random.sample(accountIds, 1);
    const amounts = Array.from({ length: random.between(1, 3) }, () => random.between(-500, 1000));
    const act = (account: Account): void => {
      for (const amount of amounts) {
        if (amount < 0) account.withdraw(-amount, this.#name);
        else account.deposit(amount, this.#name);
      }
    };
    await this.#app.repository(Account).upsert(id, act).catch(unlessExpected);
  }

  /** Straight to the log: one stream or several, few events or many, and now and then the same append twice. */
  async #append(): Promise<void> {
    const random = this.#random;
    const count = random.chance(0.5) ? 1 : random.between(2, 4);
    const most = random.chance(0.05) ? 200 : 5;
    const appends: StreamAppend[] = random.sample(streams, count).map((stream) => ({
      stream,
      events: Array.from({ length: random.between(1, most) }, () => this.#event()),
    }));
    const append = async (): Promise<AppendResult[]> => this.#store.appendAll(appends);
    const repeat = random.chance(0.1);
    // Both at once: they may meet in one group.
    const twice = async (): Promise<AppendResult[]> => (await Promise.all([append(), append()]))[1];
    await this.#journal.begin(appends, repeat ? twice : append).catch(unlessExpected);
  }

  #event(): NewEvent {
    this.#events += 1;
    const data = { amount: this.#random.between(1, 1000), note: `${this.#name}: ${this.#events}` };
    return { id: `${this.#idPrefix}-${hex(this.#events, 12)}`, type: 'Deposited', version: 1, data };
  }
}

/**
 * All callers want the same few accounts: one that was beaten to it ten times goes on with something else. So does one whose
 * database is out of reach; what became of its append is settled later, like that of a killed caller.
 */
async function unlessExpected(error: unknown): Promise<void> {
  if (error instanceof RevisionConflictError) return;
  if (!(error instanceof StoreUnavailableError || error instanceof AppendOutcomeUnknownError)) throw error;
  await sleep(20);
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

const orders = takeOrders<WriterOrders>();
await withTarget(orders.target, (target) => write(target, orders));
