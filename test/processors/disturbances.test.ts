import { expect } from 'chai';
import {
  createApplication,
  delivery,
  ProcessorStoppedError,
  silentLogger,
  StoreUnavailableError,
  systemClock,
  type Application,
  type ApplicationOptions,
  type Clock,
  type Store,
} from '@refold/core';
import {
  Account,
  balances,
  Deposited,
  documentsOf,
  expectedBalances,
  Fixture,
  stores,
  until,
  workUntilTheEnd,
} from './fixture.js';

for (const { name, open } of stores) {
  describe(`disturbed workers on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
    });
    afterEach(() => fixture.end());

    function application(options: Partial<ApplicationOptions>): Application {
      return createApplication({ store, aggregates: [Account], logger: silentLogger, ...options });
    }

    it('wait from look to look while another version than theirs is live', async () => {
      const { slept, clock } = recordingClock();
      const old = application({ projections: [balances({ partitions: 4 })], clock });
      const next = application({ projections: [balances({ version: 2 })] });
      workUntilTheEnd(old, fixture, { leaseMs: 2000 });
      await until(
        async () => (await store.partitions('balances')).filter(({ holder }) => holder).length === 4,
      );
      await next.rebuild('balances');
      // One of its lanes learns that it has lost its lease; the others are ended while they hold theirs.
      slept.length = 0;
      await old.append('account-1', [new Deposited(1)]);
      // While its own version is live it never rests as long as this.
      await until(() => slept.some((ms) => ms >= 1000));
    });

    it('leave out no event whose retry is interrupted by their end', async () => {
      let broken = true;
      let tries = 0;
      const handled: number[] = [];
      const notes = delivery('notes', {
        retry: { maxAttempts: 9, firstDelayMs: 60_000, maxDelayMs: 60_000 },
      }).on(Deposited, ({ data: { amount } }) => {
        tries += 1;
        if (broken) throw new Error('not now');
        handled.push(amount);
      });
      const app = application({ deliveries: [notes] });
      await app.append('account-1', [new Deposited(1)]);
      const { stop } = workUntilTheEnd(app, fixture);
      await until(() => tries > 0);
      await stop();
      broken = false;
      await app.catchUp();
      expect(handled).to.deep.equal([1]);
    });

    it('take the share of one in which the processor has stopped', async () => {
      let broken = true;
      const projections = [balances({ partitions: 4, broken: () => broken })];
      const app = application({ projections, deliveries: [delivery('others').on(Deposited, () => {})] });
      const first = workUntilTheEnd(app, fixture, { name: 'first', leaseMs: 300 });
      await app.append('account-1', [new Deposited(1)]);
      await until(async () => (await app.processor('balances').status()).failure !== undefined);
      broken = false;
      workUntilTheEnd(app, fixture, { name: 'second', leaseMs: 300 });
      await until(async () =>
        (await store.partitions('balances')).every(({ holder }) => holder === 'second'),
      );
      await app.waitFor('balances', 1);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      const error = await first.stop().catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProcessorStoppedError);
    });

    it('go on with a processor that has stopped in them when it is resumed, wherever that is said', async () => {
      let broken = true;
      const projections = [balances({ broken: () => broken })];
      const app = application({ projections, deliveries: [delivery('others').on(Deposited, () => {})] });
      const { stop } = workUntilTheEnd(app, fixture, { leaseMs: 300 });
      await app.append('account-1', [new Deposited(1)]);
      const elsewhere = application({ projections });
      const handle = elsewhere.processor('balances');
      for (let round = 0; round < 2; round++) {
        await until(async () => (await handle.status()).failure !== undefined);
        broken = round === 0;
        await handle.resume();
      }
      await elsewhere.waitFor('balances', 1);
      await app.append('account-1', [new Deposited(1)]);
      await elsewhere.waitFor('balances', 2);
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
      await stop();
    });

    it('go on with a processor that is resumed while the attempt is under way at which it stops', async () => {
      let attempts = 0;
      let fail = (_: Error): void => {};
      const notes = delivery('notes', { onError: 'stop', retry: { maxAttempts: 1 } }).on(Deposited, () => {
        attempts += 1;
        if (attempts > 1) return undefined;
        return new Promise<void>((_, reject) => (fail = reject));
      });
      const { slept, clock } = recordingClock();
      const deliveries = [notes, delivery('others').on(Deposited, () => {})];
      const app = application({ deliveries, clock });
      const { stop } = workUntilTheEnd(app, fixture, { leaseMs: 300 });
      await app.append('account-1', [new Deposited(1)]);
      await until(() => attempts === 1);
      await app.processor('notes').resume();
      // It has been seen, and is no news any more when the attempt ends.
      slept.length = 0;
      await until(() => slept.filter((ms) => ms === 75).length > 4);
      fail(new Error('not now'));
      await app.waitFor('notes', 1);
      await stop();
    });

    it('end with all their errors when the last of their processors has stopped', async () => {
      const app = application({
        projections: [
          balances({ broken: (amount) => amount === 1 }),
          balances({ name: 'others', broken: (amount) => amount === 2 }),
        ],
      });
      const { ended } = workUntilTheEnd(app, fixture, { leaseMs: 300 });
      await app.append('account-1', [new Deposited(1)]);
      await until(async () => (await app.processor('balances').status()).failure !== undefined);
      await app.append('account-1', [new Deposited(2)]);
      const error = await ended.catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(AggregateError);
      const stopped = (error as AggregateError).errors.map((one: ProcessorStoppedError) => one.processor);
      expect(stopped).to.deep.equal(['balances', 'others']);
    });

    it('end without an error while the store is out of reach', async () => {
      await application({ projections: [balances()] }).catchUp();
      let reachable = true;
      let asked = false;
      const cut: Store = new Proxy(store, {
        get(target, key) {
          const found: unknown = Reflect.get(target, key);
          if (typeof found !== 'function') return found;
          return (...args: unknown[]): unknown => {
            // It is lost as soon as the build of the new version has begun.
            if (key === 'createGeneration') reachable = false;
            else if (!reachable && key === 'generations') {
              asked = true;
              return Promise.reject(new StoreUnavailableError(key));
            }
            return Reflect.apply(found, target, args);
          };
        },
      });
      const app = application({ store: cut, projections: [balances({ version: 2 })] });
      const { stop } = workUntilTheEnd(app, fixture);
      await until(() => asked);
      await stop();
    });

    it('let go of a partition whose lease runs out while the store is out of reach, whatever they retry', async () => {
      let isAway = false;
      let attempts = 0;
      let hung = 0;
      const handled: number[] = [];
      const warnings: string[] = [];
      const cut: Store = new Proxy(store, {
        get(target, key) {
          const found: unknown = Reflect.get(target, key);
          if (typeof found !== 'function') return found;
          return (...args: unknown[]): unknown => {
            if (!isAway || key === 'readAll') return Reflect.apply(found, target, args);
            // The renewal is one of those that nobody ever answers.
            if (key === 'renewLeases') return new Promise(() => (hung += 1));
            return Promise.reject(new StoreUnavailableError(String(key)));
          };
        },
      });
      const notes = delivery('notes', {
        classify: () => 'transient',
        retry: { firstDelayMs: 1, maxDelayMs: 1 },
      });
      const app = application({
        store: cut,
        logger: { ...silentLogger, warn: (message) => void warnings.push(message) },
        deliveries: [
          notes.on(Deposited, () => {
            attempts += 1;
            throw new Error('not now');
          }),
        ],
      });
      const other = application({
        deliveries: [notes.on(Deposited, ({ data: { amount } }) => void handled.push(amount))],
      });
      await other.append('account-1', [new Deposited(1)]);
      workUntilTheEnd(app, fixture, { leaseMs: 300 });
      await until(() => attempts > 0);
      isAway = true;
      await until(() => warnings.some((one) => one.includes('a lease of "notes" expires by itself')));
      expect(hung).to.equal(1);
      const before = attempts;
      workUntilTheEnd(other, fixture, { leaseMs: 300 });
      await other.waitFor('notes', 1);
      expect({ attempts, handled }).to.deep.equal({ attempts: before, handled: [1] });
    });

    it('do not take failures of one process for its death', async () => {
      let broken = true;
      const notes = delivery('notes', { onError: 'stop', retry: { maxAttempts: 6, firstDelayMs: 1 } }).on(
        Deposited,
        () => {
          if (broken) throw new Error('not now');
        },
      );
      const app = application({ deliveries: [notes] });
      await app.append('account-1', [new Deposited(1)]);
      const { generation } = await store.createGeneration('notes', { version: 1, collections: [] });
      const partition = { processor: 'notes', generation, firstSlice: 0 };
      // It died once, and never gave its lease back.
      expect(await store.acquireLease(partition, { holder: 'gone', ttlMs: 1 })).to.not.equal(undefined);
      const error = await app.catchUp().catch((thrown: unknown) => thrown);
      expect((error as Error).message).to.include('not now');
      broken = false;
      await app.catchUp();
      expect((await store.partitions('notes'))[0]?.position).to.equal(1);
    });

    it('try an event again that processes have died of, once somebody has said so', async () => {
      const notes = delivery('notes', { onError: 'stop' }).on(Deposited, () => {});
      const app = application({ deliveries: [notes] });
      await app.append('account-1', [new Deposited(1)]);
      const { generation } = await store.createGeneration('notes', { version: 1, collections: [] });
      const partition = { processor: 'notes', generation, firstSlice: 0 };
      for (let death = 0; death < 3; death++) {
        const lease = await store.acquireLease(partition, { holder: `died-${death}`, ttlMs: 1 });
        if (lease) await store.beginAttempt(lease, 1);
        await until(async () => {
          const [one] = await store.partitions('notes');
          return (one?.leaseExpiresAt?.getTime() ?? 0) < Date.now();
        });
      }
      const error = await app.catchUp().catch((thrown: unknown) => thrown);
      expect((error as Error).message).to.include('The process ended 3 times');
      await app.processor('notes').resume();
      await app.catchUp();
      expect((await store.partitions('notes'))[0]?.position).to.equal(1);
    });
  });
}

/** The clock of the system, and how long those who slept by it meant to. */
function recordingClock(): { readonly slept: number[]; readonly clock: Clock } {
  const slept: number[] = [];
  const clock: Clock = {
    now: () => systemClock.now(),
    sleep: (ms, signal) => {
      slept.push(ms);
      return systemClock.sleep(ms, signal);
    },
  };
  return { slept, clock };
}
