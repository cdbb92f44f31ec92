import {
  Account,
  LARGE_ACCOUNT,
  LARGE_EVENTS,
  SMALL_EVENTS,
  smallAccounts,
  SnapshottedAccount,
  type Statement,
} from '../accounts.js';
import type { Bench, Case } from '../harness.js';
import { ensureLarge, stream, type Logs } from './logs.js';

/** Events behind the snapshot that a load still folds. */
const TAIL = 10;

/** Loads aggregates of both sizes, without and with a snapshot, through the repository. */
export async function compareLoads(bench: Bench, logs: readonly Logs[]): Promise<void> {
  for (const one of logs) {
    await ensureLarge(one);
    for (const account of smallAccounts) await saveSnapshot(one, account, SMALL_EVENTS - 1 - TAIL);
    await saveSnapshot(one, LARGE_ACCOUNT, LARGE_EVENTS - 1 - TAIL);
  }
  const rounds = bench.quick ? 5 : 9;
  const compare = (name: string, toCase: (logs: Logs) => Case<readonly Statement[]>): Promise<void> =>
    bench.compare({ name, unit: 'loads', rounds, cases: logs.map(toCase) });
  const [small, large] = [smallAccounts, [LARGE_ACCOUNT]];
  await compare('load an aggregate of 100', (one) => loadCase(one, small, SMALL_EVENTS, 20, false));
  await compare('load an aggregate of 100, snapshot', (one) => loadCase(one, small, SMALL_EVENTS, 100, true));
  await compare('load an aggregate of 10,000', (one) => loadCase(one, large, LARGE_EVENTS, 4, false));
  await compare('load an aggregate of 10,000, snapshot', (one) =>
    loadCase(one, large, LARGE_EVENTS, 1000, true),
  );
}

/** Each round loads every one of the accounts so many times. */
function loadCase(
  { length, application, raw }: Logs,
  accounts: readonly string[],
  events: number,
  times: number,
  snapshot: boolean,
): Case<readonly Statement[]> {
  const repository = application.repository(snapshot ? SnapshottedAccount : Account);
  return {
    length,
    n: accounts.length * times,
    ours: async () => {
      let loaded: Account[] = [];
      for (let time = 0; time < times; time++) {
        loaded = [];
        for (const account of accounts) loaded.push(await repository.load(account));
      }
      return loaded;
    },
    raw: () => {
      let loaded: Statement[] = [];
      for (let time = 0; time < times; time++) {
        loaded = accounts.map((account) => raw.load(stream(account), { snapshot }));
      }
      return loaded;
    },
    correct: (ours, other) =>
      ours.length === accounts.length &&
      ours.every(({ balance, movements, last }, index) => {
        const same = other[index];
        return (
          movements === events && same?.movements === events && same.balance === balance && same.last === last
        );
      }),
  };
}

async function saveSnapshot(
  { store, application, raw }: Logs,
  account: string,
  revision: number,
): Promise<void> {
  const { balance, movements, last } = await application.repository(Account).load(account, { revision });
  const state = { balance, movements, last };
  await store.saveSnapshot({ stream: stream(account), revision, version: 1, state });
  raw.saveSnapshot(stream(account), revision, state);
}
