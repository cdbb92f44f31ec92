import {
  AggregateNotFoundError,
  createApplication,
  InvalidArgumentError,
  memoryStore,
  pendingEvents,
  type Repository,
  revisionOf,
  RevisionConflictError,
  type Clock,
  type MemoryStore,
} from '@refold/core';
import { expect } from 'chai';
import { Account, Deposited, OverdrawnError } from './account.js';
import { contestedStore, hastyClock, rejectionOf } from './stores.js';

function accountsOn(store: MemoryStore): Repository<Account> {
  return createApplication({ store, aggregates: [Account], clock: hastyClock }).repository(Account);
}

const deposit = (amount: number) => ({ type: 'Deposited', data: { amount } });

describe('Repository', () => {
  describe('load and find', () => {
    it('fold what is in the stream', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => {
        account.open('Ann');
        account.deposit(5);
      });
      const account = await accounts.load('1');
      expect(account).to.be.instanceOf(Account).and.deep.include({ id: '1', owner: 'Ann', balance: 5 });
      expect(revisionOf(account)).to.equal(1);
      expect(pendingEvents(account)).to.deep.equal([]);
    });

    it('of one that is not there is an error, or undefined', async () => {
      const accounts = accountsOn(memoryStore());
      const error = await rejectionOf(accounts.load('none'));
      expect(error)
        .to.be.instanceOf(AggregateNotFoundError)
        .and.deep.include({ category: 'account', id: 'none' });
      expect(await accounts.find('none')).to.equal(undefined);
    });

    it('return an instance of its own each time', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.open('Ann'));
      expect(await accounts.load('1')).to.not.equal(await accounts.load('1'));
    });

    it('as of a revision fold up to and with that one', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1).deposit(2).deposit(4));
      for (const [revision, balance] of [1, 3, 7].entries()) {
        const account = await accounts.load('1', { revision });
        expect(account.balance).to.equal(balance);
        expect(revisionOf(account)).to.equal(revision);
      }
      expect((await accounts.load('1', { revision: 99 })).balance).to.equal(7);
    });

    it('as of a time fold what was recorded up to and with it', async () => {
      let now = 1000;
      const clock: Clock = { ...hastyClock, now: () => now };
      const accounts = accountsOn(memoryStore({ clock }));
      await accounts.create('1', (account) => account.deposit(1));
      now = 2000;
      await accounts.update('1', (account) => account.deposit(2));
      expect((await accounts.load('1', { time: new Date(1000) })).balance).to.equal(1);
      expect((await accounts.load('1', { time: new Date(1999) })).balance).to.equal(1);
      expect((await accounts.load('1', { time: new Date(2000) })).balance).to.equal(3);
      expect(await accounts.find('1', { time: new Date(999) })).to.equal(undefined);
      expect(await rejectionOf(accounts.load('1', { time: new Date(999) }))).to.be.instanceOf(
        AggregateNotFoundError,
      );
    });

    it('refuse a time that is none, and a revision that is none, by their names', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1));
      for (const [argument, options] of [
        ['time', { time: new Date('nonsense') }],
        ['revision', { revision: -1 }],
        ['revision', { revision: 0.5 }],
      ] as const) {
        const error = await rejectionOf(accounts.find('1', options));
        expect(error).to.be.instanceOf(InvalidArgumentError).and.have.property('argument', argument);
      }
    });

    it('refuse an empty id', async () => {
      const accounts = accountsOn(memoryStore());
      expect(await rejectionOf(accounts.load(''))).to.be.instanceOf(InvalidArgumentError);
      expect(await rejectionOf(accounts.create('', () => {}))).to.be.instanceOf(InvalidArgumentError);
    });
  });

  describe('save', () => {
    it('appends what is pending at the revision of the load, and tells where', async () => {
      const accounts = accountsOn(memoryStore());
      const account = new Account('1');
      account.deposit(1).deposit(2);
      expect(await accounts.save(account)).to.deep.equal({ revision: 1, position: 2 });
      expect(pendingEvents(account)).to.deep.equal([]);
      account.deposit(3);
      expect(await accounts.save(account)).to.deep.equal({ revision: 2, position: 3 });
      expect((await accounts.load('1')).balance).to.equal(6);
    });

    it('of nothing writes nothing', async () => {
      const accounts = accountsOn(memoryStore());
      expect(await accounts.save(new Account('1'))).to.deep.equal({ revision: -1, position: undefined });
      expect(await accounts.find('1')).to.equal(undefined);
    });

    it('of a new aggregate whose stream exists is a conflict', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1));
      const error = await rejectionOf(accounts.save(new Account('1').deposit(5)));
      expect(error)
        .to.be.instanceOf(RevisionConflictError)
        .and.deep.include({ expected: 'no-stream', actual: 0 });
    });

    it('over newer events is a conflict, after which the events are still pending', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1));
      const stale = await accounts.load('1');
      await accounts.update('1', (account) => account.deposit(2));
      stale.deposit(4);
      const error = await rejectionOf(accounts.save(stale));
      expect(error).to.be.instanceOf(RevisionConflictError);
      expect(error).to.deep.include({ stream: 'account-1', expected: 0, actual: 1 });
      expect(pendingEvents(stale)).to.deep.equal([new Deposited(4)]);
    });

    it('of an aggregate of the past is a conflict', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1).deposit(2));
      const past = await accounts.load('1', { revision: 0 });
      expect(await rejectionOf(accounts.save(past.deposit(4)))).to.be.instanceOf(RevisionConflictError);
    });
  });

  describe('create', () => {
    it('begins an aggregate and returns what the callback returned', async () => {
      const accounts = accountsOn(memoryStore());
      const created = await accounts.create('1', (account) => account.deposit(5).balance);
      expect(created).to.deep.equal({ result: 5, revision: 0, position: 1 });
    });

    it('of one that exists is a conflict, and is not tried again', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(5));
      let calls = 0;
      const again = accounts.create('1', (account) => {
        calls++;
        account.deposit(6);
      });
      expect(await rejectionOf(again)).to.be.instanceOf(RevisionConflictError);
      expect(calls).to.equal(1);
      expect((await accounts.load('1')).balance).to.equal(5);
    });
  });

  describe('update', () => {
    it('of one that is not there is an error, and the callback is not called', async () => {
      const accounts = accountsOn(memoryStore());
      let calls = 0;
      const updated = accounts.update('none', () => calls++);
      expect(await rejectionOf(updated)).to.be.instanceOf(AggregateNotFoundError);
      expect(calls).to.equal(0);
    });

    it('awaits an asynchronous callback', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1));
      const { result } = await accounts.update('1', async (account) => {
        await Promise.resolve();
        return account.deposit(2).balance;
      });
      expect(result).to.equal(3);
      expect((await accounts.load('1')).balance).to.equal(3);
    });

    it('that records nothing writes nothing and tells the present revision', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1));
      const updated = await accounts.update('1', (account) => account.balance);
      expect(updated).to.deep.equal({ result: 1, revision: 0, position: undefined });
    });

    it('lets a domain error reach the caller as the same object, and appends nothing', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1));
      const refusal = new OverdrawnError('no');
      const updated = accounts.update('1', (account) => {
        account.deposit(10);
        throw refusal;
      });
      expect(await rejectionOf(updated)).to.equal(refusal);
      const account = await accounts.load('1');
      expect([account.balance, revisionOf(account)]).to.deep.equal([1, 0]);
      const { result } = await accounts.update('1', ({ balance }) => balance);
      expect(result).to.equal(1);
    });

    it('acts again on the fresh state after a conflict', async () => {
      const { store, contest } = contestedStore(deposit(100));
      const accounts = accountsOn(store);
      await accounts.create('1', (account) => account.deposit(1));
      contest(3);
      const seen: number[] = [];
      const { revision } = await accounts.update('1', (account) => {
        seen.push(account.balance);
        account.deposit(1);
      });
      expect(seen).to.deep.equal([1, 101, 201, 301]);
      expect(revision).to.equal(4);
      expect((await accounts.load('1')).balance).to.equal(302);
    });

    it('gives up with the conflict after maxAttempts', async () => {
      const { store, contest } = contestedStore(deposit(100));
      const application = createApplication({ store, aggregates: [Account], clock: hastyClock });
      const accounts = application.repository(Account, { maxAttempts: 3 });
      await accounts.create('1', (account) => account.deposit(1));
      contest(3);
      let calls = 0;
      const updated = accounts.update('1', (account) => {
        calls++;
        account.deposit(1);
      });
      const error = await rejectionOf(updated);
      expect(error)
        .to.be.instanceOf(RevisionConflictError)
        .and.deep.include({ stream: 'account-1', actual: 3 });
      expect(calls).to.equal(3);
      expect((await accounts.load('1')).balance).to.equal(301);
    });

    it('does not try again for a conflict on another stream', async () => {
      const accounts = accountsOn(memoryStore());
      await accounts.create('1', (account) => account.deposit(1));
      const other = new RevisionConflictError('account-2', 1, 2);
      let calls = 0;
      const updated = accounts.update('1', () => {
        calls++;
        throw other;
      });
      expect(await rejectionOf(updated)).to.equal(other);
      expect(calls).to.equal(1);
    });

    it('waits between attempts, each time up to a little longer', async () => {
      const { store, contest } = contestedStore(deposit(1));
      const waits: number[] = [];
      const clock: Clock = { ...hastyClock, sleep: async (ms) => void waits.push(ms) };
      const accounts = createApplication({ store, aggregates: [Account], clock }).repository(Account);
      await accounts.create('1', (account) => account.deposit(1));
      contest(9);
      await accounts.update('1', (account) => account.deposit(1));
      expect(waits).to.have.length(9);
      waits.forEach((ms, index) => expect(ms).to.be.within(0, Math.min(100, 2 ** (index + 1))));
    });

    it('racing from two applications loses no effect and repeats none', async () => {
      const store = memoryStore();
      // On the system's clock: what spreads many rivals is the waiting between their attempts.
      const rivals = [1, 2].map(() =>
        createApplication({ store, aggregates: [Account] }).repository(Account),
      );
      await rivals[0]?.create('1', (account) => account.open('Ann'));
      const amounts = Array.from({ length: 20 }, (_, index) => 2 ** index);
      await Promise.all(
        amounts.map(async (amount, index) => {
          const accounts = rivals[index % 2];
          await accounts?.update('1', async (account) => {
            await Promise.resolve();
            account.deposit(amount);
          });
        }),
      ).catch((error: unknown) => expect.fail(String(error)));
      const account = await accountsOn(store).load('1');
      expect(account.balance).to.equal(2 ** 20 - 1);
      expect(revisionOf(account)).to.equal(20);
    });
  });

  describe('upsert', () => {
    it('begins with an empty aggregate, and goes on with the one there is', async () => {
      const accounts = accountsOn(memoryStore());
      const act = (account: Account): number => account.deposit(2).balance;
      expect(await accounts.upsert('1', act)).to.deep.equal({ result: 2, revision: 0, position: 1 });
      expect(await accounts.upsert('1', act)).to.deep.equal({ result: 4, revision: 1, position: 2 });
    });

    it('racing to begin acts again on what the winner left', async () => {
      const { store, contest } = contestedStore(deposit(100));
      contest(1);
      const accounts = accountsOn(store);
      const { result } = await accounts.upsert('1', (account) => account.deposit(1).balance);
      expect(result).to.equal(101);
    });
  });

  it('refuses options that make no sense', () => {
    const application = createApplication({ store: memoryStore(), aggregates: [Account] });
    for (const options of [{ cacheSize: -1 }, { cacheSize: 0.5 }, { maxAttempts: 0 }]) {
      expect(() => application.repository(Account, options)).to.throw(InvalidArgumentError);
    }
  });

  it('is one for each aggregate, unless options ask for another', () => {
    const application = createApplication({ store: memoryStore(), aggregates: [Account] });
    expect(application.repository(Account)).to.equal(application.repository(Account));
    expect(application.repository(Account, {})).to.not.equal(application.repository(Account));
  });
});
