import { createApplication, pendingEvents, type Repository } from '@refold/core';
import { expect } from 'chai';
import { Account } from './account.js';
import { countingStore, hastyClock, rejectionOf } from './stores.js';

function cachedAccounts(cacheSize?: number): {
  accounts: Repository<Account>;
  others: Repository<Account>;
  reads: () => number;
} {
  const { store, reads } = countingStore();
  const application = createApplication({ store, aggregates: [Account], clock: hastyClock });
  return {
    accounts: application.repository(Account, { cacheSize }),
    others: application.repository(Account, { cacheSize: 0 }),
    reads,
  };
}

const addOne = (account: Account): number => account.deposit(1).balance;

describe("a repository's cache", () => {
  it('spares an update the events that it has seen', async () => {
    const { accounts, reads } = cachedAccounts();
    await accounts.create('1', addOne);
    for (let n = 2; n <= 5; n++) {
      const { result } = await accounts.update('1', addOne);
      expect(result).to.equal(n);
    }
    expect(reads()).to.equal(0);
  });

  it('lets it read the tail that others appended, and no more', async () => {
    const { accounts, others, reads } = cachedAccounts();
    await accounts.create('1', addOne);
    await others.update('1', (account) => account.deposit(10).deposit(10));
    reads();
    const { result } = await accounts.update('1', addOne);
    expect(result).to.equal(22);
    expect(reads()).to.equal(2);
  });

  it('of size 0 keeps nothing', async () => {
    const { others, reads } = cachedAccounts();
    await others.create('1', addOne);
    await others.update('1', addOne);
    await others.update('1', addOne);
    expect(reads()).to.equal(3);
  });

  it('keeps the most recently used, and no more than its size', async () => {
    const { accounts, reads } = cachedAccounts(2);
    for (const id of ['1', '2', '3']) await accounts.create(id, addOne);
    await accounts.update('2', addOne);
    await accounts.update('3', addOne);
    expect(reads()).to.equal(0);
    await accounts.update('1', addOne);
    expect(reads()).to.equal(1);
    await accounts.update('3', addOne);
    expect(reads()).to.equal(0);
    await accounts.update('2', addOne);
    expect(reads()).to.equal(2);
  });

  it('is not asked by load, whose instance is the callers own', async () => {
    const { accounts } = cachedAccounts();
    await accounts.create('1', addOne);
    const mine = await accounts.load('1');
    mine.balance = 999;
    mine.deposit(1);
    expect((await accounts.update('1', addOne)).result).to.equal(2);
  });

  it('forgets an instance on which a callback failed', async () => {
    const { accounts } = cachedAccounts();
    await accounts.create('1', addOne);
    const failure = new Error('after recording');
    const failed = accounts.update('1', (account) => {
      account.deposit(100);
      throw failure;
    });
    expect(await rejectionOf(failed)).to.equal(failure);
    expect((await accounts.update('1', addOne)).result).to.equal(2);
  });

  it('never shares an instance that the callback returned', async () => {
    const { accounts } = cachedAccounts();
    const { result: mine } = await accounts.create('1', (account) => account.deposit(1));
    mine.balance = 999;
    expect((await accounts.update('1', addOne)).result).to.equal(2);
    expect(mine.balance).to.equal(999);
  });

  it('does not append what somebody recorded on an instance that leaked', async () => {
    const { accounts } = cachedAccounts();
    let leaked: Account | undefined;
    await accounts.create('1', (account) => {
      leaked = account;
      account.deposit(1);
    });
    leaked?.deposit(100);
    expect((await accounts.update('1', addOne)).result).to.equal(2);
    expect((await accounts.load('1')).balance).to.equal(2);
    expect(leaked && pendingEvents(leaked)).to.have.length(1);
    expect(leaked && (await rejectionOf(accounts.save(leaked)))).to.have.property(
      'code',
      'REVISION_CONFLICT',
    );
  });

  it('does not append what is recorded on a leaked instance while the next update reads its tail', async () => {
    const { store } = countingStore();
    const application = createApplication({ store, aggregates: [Account], clock: hastyClock });
    const accounts = application.repository(Account);
    let leaked: Account | undefined;
    await accounts.create('1', (account) => {
      leaked = account;
      account.deposit(1);
    });
    const readStream = store.readStream.bind(store);
    store.readStream = (stream, options) => {
      leaked?.deposit(100);
      leaked = undefined;
      return readStream(stream, options);
    };
    expect((await accounts.update('1', addOne)).result).to.equal(2);
    expect((await accounts.load('1')).balance).to.equal(2);
  });

  it('serves concurrent updates of one aggregate each with an instance of its own', async () => {
    const { accounts } = cachedAccounts();
    await accounts.create('1', addOne);
    const instances = new Set<Account>();
    await Promise.all(
      Array.from({ length: 5 }, () =>
        accounts.update('1', async (account) => {
          expect(pendingEvents(account)).to.have.length(0);
          instances.add(account);
          await Promise.resolve();
          account.deposit(1);
        }),
      ),
    );
    expect(instances.size).to.be.at.least(5);
    expect((await accounts.load('1')).balance).to.equal(6);
  });
});
