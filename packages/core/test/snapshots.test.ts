import {
  aggregate,
  Aggregate,
  applies,
  createApplication,
  decider,
  defineEvent,
  revisionOf,
  type AggregateClass,
  type MemoryStore,
} from '@refold/core';
import { expect } from 'chai';
import { accountClass, Deposited, type AnyAccount } from './account.js';
import { Basket, Line } from './fixtures-legacy/basket.js';
import { countingStore, hastyClock, keptWarnings } from './stores.js';

function uncached<A extends Aggregate>(store: MemoryStore, aggregateClass: AggregateClass<A>) {
  const { logger, warnings } = keptWarnings();
  const application = createApplication({ store, aggregates: [aggregateClass], clock: hastyClock, logger });
  return { repository: application.repository(aggregateClass, { cacheSize: 0 }), warnings };
}

const deposits = (times: number) => (account: AnyAccount) => {
  for (let n = 0; n < times; n++) account.deposit(1);
};

/** An aggregate of category `odd` that puts what a test says into its state. */
function oddClass(
  value: () => unknown,
  initial?: unknown,
): AggregateClass<Aggregate & { act(): void; state: unknown }> {
  @aggregate('odd', { snapshotEvery: 1 })
  class Odd extends Aggregate {
    state: unknown = initial;
    act(): void {
      this.record(new Deposited(1));
    }
    @applies(Deposited)
    deposited(): void {
      this.state = value();
    }
  }
  return Odd;
}

describe('snapshots', () => {
  it('are taken each time so many events have been saved', async () => {
    const { store } = countingStore();
    const { repository } = uncached(store, accountClass({ snapshotEvery: 3 }));
    const revisionAfter = async (times: number): Promise<number | undefined> => {
      await repository.upsert('1', deposits(times));
      return (await store.loadSnapshot('account-1'))?.revision;
    };
    expect(await revisionAfter(2)).to.equal(undefined);
    expect(await revisionAfter(1)).to.equal(2);
    expect(await revisionAfter(2)).to.equal(2);
    expect(await revisionAfter(5)).to.equal(9);
  });

  it('spare a load the events before them', async () => {
    const { store, reads } = countingStore();
    const { repository } = uncached(store, accountClass({ snapshotEvery: 10 }));
    await repository.create('1', deposits(10));
    await repository.update('1', deposits(2));
    reads();
    const account = await repository.load('1');
    expect(account).to.deep.include({ id: '1', balance: 12 });
    expect(account.history).to.have.length(12);
    expect(revisionOf(account)).to.equal(11);
    expect(reads()).to.equal(2);
  });

  it('serve updates too, which go on at the right revision', async () => {
    const { store, reads } = countingStore();
    const { repository } = uncached(store, accountClass({ snapshotEvery: 4 }));
    await repository.create('1', deposits(4));
    const { revision } = await repository.update('1', deposits(1));
    expect([revision, reads()]).to.deep.equal([4, 0]);
  });

  it('are not taken without snapshotEvery, and not looked for', async () => {
    const { store, reads } = countingStore();
    await uncached(store, accountClass({ snapshotEvery: 1 })).repository.create('1', deposits(2));
    await store.deleteSnapshot('account-1');
    const { repository } = uncached(store, accountClass({}));
    await repository.update('1', deposits(1));
    expect(await store.loadSnapshot('account-1')).to.equal(undefined);
    reads();
    await repository.load('1');
    expect(reads()).to.equal(3);
  });

  it("of another version of the aggregate's code are ignored, and replaced", async () => {
    const { store, reads } = countingStore();
    await uncached(store, accountClass({ snapshotEvery: 5 })).repository.create('1', deposits(5));
    const { repository } = uncached(store, accountClass({ snapshotEvery: 5, version: 2 }));
    expect((await repository.load('1')).balance).to.equal(5);
    expect(reads()).to.equal(5);
    await repository.update('1', deposits(5));
    expect(await store.loadSnapshot('account-1')).to.deep.include({ revision: 9, version: 2 });
  });

  it('later than the revision that is asked for are not used', async () => {
    const { store } = countingStore();
    const { repository } = uncached(store, accountClass({ snapshotEvery: 4 }));
    await repository.create('1', deposits(4));
    for (const revision of [0, 2, 3]) {
      const account = await repository.load('1', { revision });
      expect([account.balance, revisionOf(account)]).to.deep.equal([revision + 1, revision]);
    }
  });

  it('later than the time that is asked for are not used', async () => {
    const { store } = countingStore();
    const { repository } = uncached(store, accountClass({ snapshotEvery: 1 }));
    await repository.create('1', deposits(1));
    expect(await repository.find('1', { time: new Date(0) })).to.equal(undefined);
  });

  it('do not share state with the instance they were taken of', async () => {
    const { store } = countingStore();
    const { repository } = uncached(store, accountClass({ snapshotEvery: 1 }));
    const { result: kept } = await repository.create('1', (account) => account.deposit(1));
    kept.history.push('scribble');
    const loaded = await repository.load('1');
    expect(loaded.history).to.deep.equal(['+1']);
    loaded.history.push('scribble');
    expect((await repository.load('1')).history).to.deep.equal(['+1']);
  });

  it('bring class-transformer properties back as instances', async () => {
    const { store, reads } = countingStore();
    const { repository, warnings } = uncached(store, Basket);
    const at = new Date('2024-01-02T03:04:05Z');
    await repository.create('1', (basket) => {
      basket.add([new Line('a', 2, 5)], at);
      basket.add([new Line('b', 1, 1)], at);
    });
    reads();
    const basket = await repository.load('1');
    expect(warnings).to.deep.equal([]);
    expect(reads()).to.equal(0);
    expect(basket).to.be.instanceOf(Basket).and.deep.include({ id: '1', changedAt: at });
    expect(basket.lines.map((line) => line.total())).to.deep.equal([10, 1]);
  });

  describe('of a state that JSON would change are not taken, with a warning, and harm nobody', () => {
    const values: Record<string, () => unknown> = {
      'a Date': () => new Date(0),
      'a Map': () => new Map([[1, 2]]),
      'a class instance in an array': () => [new Deposited(1)],
      'a Set in an object': () => ({ inner: new Set([1]) }),
      'a bigint': () => 1n,
      'a symbol': () => Symbol('s'),
      'a function': () => () => 1,
      NaN: () => NaN,
      Infinity: () => [Infinity],
      'undefined in an array': () => [undefined, 1],
      'a cycle': () => {
        const cycle: { self?: unknown } = {};
        return (cycle.self = cycle);
      },
    };
    for (const [name, value] of Object.entries(values)) {
      it(`${name}, of a class`, async () => {
        const { store } = countingStore();
        const { repository, warnings } = uncached(store, oddClass(value));
        await repository.create('1', (odd) => odd.act());
        expect(await store.loadSnapshot('odd-1')).to.equal(undefined);
        expect(warnings).to.have.length(1);
        expect(warnings[0]).to.match(/no snapshot of odd-1 at revision 0: /);
        expect(String(typeof (await repository.load('1')).state)).to.equal(typeof value());
      });

      it(`${name}, of a decider`, async () => {
        const Set = defineEvent('Set', () => ({}));
        const odd = decider({
          category: 'odd',
          events: [Set],
          snapshotEvery: 1,
          initial: (): unknown => 0,
          decide: (_: 'set') => Set(),
          evolve: () => value(),
        });
        const { store } = countingStore();
        const { logger, warnings } = keptWarnings();
        const application = createApplication({ store, aggregates: [odd], logger });
        await application.repository(odd).create('1', (one) => one.execute('set'));
        expect(await store.loadSnapshot('odd-1')).to.equal(undefined);
        expect(warnings).to.have.length(1);
        expect(typeof (await application.repository(odd).load('1')).state).to.equal(typeof value());
      });
    }

    it('a property set to undefined where a new aggregate has a value', async () => {
      const { store } = countingStore();
      const { repository, warnings } = uncached(
        store,
        oddClass(() => undefined, 'open'),
      );
      await repository.create('1', (odd) => odd.act());
      expect((await repository.load('1')).state).to.equal(undefined);
      expect(warnings[0]).to.match(/"state" holds undefined/);
    });
  });

  it('keep properties that are undefined in a new aggregate as well', async () => {
    const { store } = countingStore();
    const { repository, warnings } = uncached(
      store,
      oddClass(() => undefined),
    );
    await repository.create('1', (odd) => odd.act());
    expect(warnings).to.deep.equal([]);
    expect(await store.loadSnapshot('odd-1')).to.include({ revision: 0 });
    expect(await repository.load('1')).to.have.property('state', undefined);
  });

  it('never hold what is recorded while a save is under way', async () => {
    const { store } = countingStore();
    const { repository } = uncached(store, accountClass({ snapshotEvery: 1 }));
    await repository.create('1', deposits(1));
    const account = await repository.load('1');
    account.deposit(10);
    const saving = repository.save(account);
    account.deposit(100);
    await saving;
    expect((await repository.load('1')).balance).to.equal(11);
    await repository.save(account);
    expect((await repository.load('1')).balance).to.equal(111);
  });

  it('that cannot be restored are passed over with a warning', async () => {
    const Set = defineEvent('Set', (to: number) => ({ to }));
    const register = decider({
      category: 'register',
      events: [Set],
      snapshotEvery: 100,
      initial: () => 0,
      decide: (to: number) => Set(to),
      evolve: (_, { data }) => data.to,
    });
    const { store } = countingStore();
    const { logger, warnings } = keptWarnings();
    const application = createApplication({ store, aggregates: [register], logger });
    await application.repository(register).create('1', (one) => one.execute(7));
    await store.saveSnapshot({ stream: 'register-1', revision: 0, version: 1, state: null });
    const loaded = await application.repository(register).load('1');
    expect([loaded.state, revisionOf(loaded)]).to.deep.equal([7, 0]);
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.match(/snapshot of register-1/);
  });

  it('that cannot be written do not fail the save', async () => {
    const { store } = countingStore();
    store.saveSnapshot = () => Promise.reject(new Error('disk full'));
    const { repository, warnings } = uncached(store, accountClass({ snapshotEvery: 1 }));
    const { revision } = await repository.create('1', deposits(1));
    expect(revision).to.equal(0);
    expect(warnings).to.deep.equal(['no snapshot of account-1 at revision 0: disk full']);
  });
});
