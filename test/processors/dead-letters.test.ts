import { expect } from 'chai';
import {
  createApplication,
  customProjection,
  DeadLetterError,
  delivery,
  ProcessorStoppedError,
  silentLogger,
  type Application,
  type DeliveryOptions,
  type Store,
} from '@refold/core';
import { Account, Deposited, Fixture, stores, until, workUntilTheEnd } from './fixture.js';

for (const { name, open } of stores) {
  describe(`dead letters on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;
    let handled: string[];
    let broken: Set<number>;
    let failures: number;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
      handled = [];
      broken = new Set();
      failures = 0;
    });
    afterEach(() => fixture.end());

    /** A delivery that notes what it handles, and throws at broken amounts. */
    function application(options: DeliveryOptions = {}): Application {
      const notes = delivery('notes', { retry: { maxAttempts: 2, firstDelayMs: 1 }, ...options }).on(
        Deposited,
        ({ stream, data: { amount } }) => {
          if (broken.has(amount)) {
            failures += 1;
            throw new Error(`cannot handle ${amount}`);
          }
          handled.push(`${stream} ${amount}`);
        },
      );
      return createApplication({ store, aggregates: [Account], deliveries: [notes], logger: silentLogger });
    }

    async function deposit(app: Application, account: number, ...amounts: number[]): Promise<void> {
      await app.append(
        `account-${account}`,
        amounts.map((amount) => new Deposited(amount)),
      );
    }

    it('hold back their own sequence, in order, while every other flows', async () => {
      broken.add(2);
      const app = application();
      await deposit(app, 1, 1, 2, 3);
      await deposit(app, 2, 4, 5);
      await deposit(app, 1, 6);
      await app.catchUp();
      expect(handled).to.deep.equal(['account-1 1', 'account-2 4', 'account-2 5']);
      const { deadLetters } = app.processor('notes');
      const letters = await deadLetters.list();
      expect(letters.map(({ position, sequence, attempts }) => [position, sequence, attempts])).to.deep.equal(
        [
          [2, 'account-1', 2],
          [3, 'account-1', 0],
          [6, 'account-1', 0],
        ],
      );
      expect(letters[0]?.error).to.include({ message: 'cannot handle 2', name: 'Error' });
      expect(await deadLetters.count()).to.equal(3);
      expect((await app.status())[0]).to.deep.include({ deadLetters: 3, lag: 0, failure: undefined });
    });

    it('lose no event that a worker was still trying again when it was told to end', async () => {
      broken.add(2);
      const app = application({ retry: { maxAttempts: 2, firstDelayMs: 60_000 } });
      await deposit(app, 1, 1, 2);
      const worker = workUntilTheEnd(app, fixture);
      await until(() => failures > 0);
      await worker.stop();
      expect((await app.status())[0]).to.deep.include({ position: 1, deadLetters: 0 });
      broken.clear();
      await app.catchUp();
      expect(handled).to.deep.equal(['account-1 1', 'account-1 2']);
    });

    it('are handled in order by the worker that runs, when they are retried and no longer fail', async () => {
      broken.add(2);
      const app = application();
      workUntilTheEnd(app, fixture);
      await deposit(app, 1, 1, 2, 3);
      await app.waitFor('notes', 3);
      broken.clear();
      expect(await app.processor('notes').deadLetters.retry()).to.equal(1);
      await deposit(app, 1, 4);
      await until(() => handled.length === 4);
      expect(handled).to.deep.equal([1, 2, 3, 4].map((amount) => `account-1 ${amount}`));
      await until(async () => (await app.processor('notes').deadLetters.count()) === 0);
    });

    it('stay, with one more attempt, when they fail again', async () => {
      broken.add(2);
      const app = application();
      workUntilTheEnd(app, fixture);
      await deposit(app, 1, 2, 3);
      await app.waitFor('notes', 2);
      const { deadLetters } = app.processor('notes');
      await deadLetters.retry({ sequence: 'account-1' });
      await until(async () => (await deadLetters.list())[0]?.attempts === 3);
      expect((await deadLetters.list())[0]).to.include({ position: 1, retries: 1 });
      expect(handled).to.deep.equal([]);
    });

    it('are retried by themselves when their time has come', async () => {
      broken.add(1);
      const app = application({ deadLetters: { retryAfterMs: [20, 20, 20, 20] } });
      workUntilTheEnd(app, fixture);
      await deposit(app, 1, 1, 2);
      await app.waitFor('notes', 2);
      broken.clear();
      await until(() => handled.length === 2);
      expect(handled).to.deep.equal(['account-1 1', 'account-1 2']);
    });

    it('let what waits behind them go on when they are discarded, and are kept with the reason', async () => {
      broken.add(2);
      const app = application();
      workUntilTheEnd(app, fixture);
      await deposit(app, 1, 1, 2, 3);
      await app.waitFor('notes', 3);
      const { deadLetters } = app.processor('notes');
      expect(await deadLetters.discard({ position: 2 }, 'the customer has gone')).to.equal(1);
      await until(() => handled.length === 2);
      expect(handled).to.deep.equal(['account-1 1', 'account-1 3']);
      const [gone] = await deadLetters.list({ discarded: true });
      expect(gone?.discarded?.reason).to.equal('the customer has gone');
      await deposit(app, 1, 4);
      await until(() => handled.length === 3);
    });

    it('can be looked at with their event, and cannot be retried out of order', async () => {
      broken.add(2);
      const app = application();
      await deposit(app, 1, 1, 2, 3);
      await app.catchUp();
      const { deadLetters } = app.processor('notes');
      const inspected = await deadLetters.inspect(2);
      expect(inspected?.event?.data).to.be.instanceOf(Deposited).and.have.property('amount', 2);
      expect(await deadLetters.inspect(1)).to.equal(undefined);
      const error = await deadLetters.retry({ position: 3 }).catch((thrown: unknown) => thrown);
      expect(error)
        .to.be.instanceOf(DeadLetterError)
        .and.have.property('message')
        .that.includes('position 2');
      const missing = await deadLetters.discard({ position: 9 }, 'why').catch((thrown: unknown) => thrown);
      expect(missing).to.be.instanceOf(DeadLetterError);
    });

    it('stop the processor at their capacity, and nothing is dropped', async () => {
      broken.add(1).add(2);
      const app = application({ deadLetters: { capacity: 1 } });
      await deposit(app, 1, 1);
      await deposit(app, 2, 2);
      const error = await app.catchUp().catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProcessorStoppedError);
      expect((error as ProcessorStoppedError).event).to.have.property('position', 2);
      broken.clear();
      await app.catchUp();
      expect(handled).to.deep.equal(['account-2 2']);
    });

    it('are gone when the processor is reset', async () => {
      broken.add(2);
      const app = application();
      await deposit(app, 1, 1, 2);
      await app.catchUp();
      broken.clear();
      await app.processor('notes').reset();
      expect(await app.processor('notes').deadLetters.count()).to.equal(0);
      await app.catchUp();
      expect(handled).to.deep.equal(['account-1 1', 'account-1 1', 'account-1 2']);
    });

    it('of an exactly-once processor are removed in the transaction of their effects', async () => {
      broken.add(2);
      const totals = customProjection('totals', {
        documents: ['total'],
        onError: 'park',
        retry: { maxAttempts: 1 },
      }).on(Deposited, async ({ data: { amount } }, { documents }) => {
        const access = documents('total');
        const total = ((await access.getMany(['all'])).get('all') as { sum: number } | undefined)?.sum ?? 0;
        await access.putMany(new Map([['all', { sum: total + amount }]]));
        if (broken.has(amount)) throw new Error(`cannot handle ${amount}`);
      });
      const app = createApplication({
        store,
        aggregates: [Account],
        projections: [totals],
        logger: silentLogger,
      });
      await deposit(app, 1, 1, 2, 4);
      await deposit(app, 2, 8);
      await app.catchUp();
      expect(await store.documents('total').get('all')).to.deep.equal({ sum: 9 });
      broken.clear();
      workUntilTheEnd(app, fixture);
      await app.processor('totals').deadLetters.retry({ position: 2 });
      await until(async () => (await app.processor('totals').deadLetters.count()) === 0);
      expect(await store.documents('total').get('all')).to.deep.equal({ sum: 15 });
    });

    it('are made of an event that ends the process again and again, and of no other', async () => {
      const app = application();
      await deposit(app, 1, 1);
      await app.catchUp();
      await deposit(app, 2, 2);
      await deposit(app, 3, 3);
      // What workers leave behind that die while they handle the event at position 2.
      const [partition] = await store.partitions('notes');
      if (!partition) throw new Error('no partition');
      for (let life = 1; life <= 3; life++) {
        const lease = await store.acquireLease(partition, { holder: `dead-${life}`, ttlMs: 15 });
        if (!lease) throw new Error('not acquired');
        await store.beginAttempt(lease, 2);
        await until(
          async () => ((await store.partitions('notes'))[0]?.leaseExpiresAt?.getTime() ?? 0) < Date.now() - 5,
        );
      }
      await app.catchUp();
      expect(handled).to.deep.equal(['account-1 1', 'account-3 3']);
      const [letter, ...more] = await app.processor('notes').deadLetters.list();
      expect(more).to.deep.equal([]);
      expect(letter).to.include({ position: 2 });
      expect(letter?.error?.message).to.equal('The process ended 3 times while it was handled');
    });

    it('hold nothing that cannot be read: it is parked at once, under its stream', async () => {
      const app = application();
      await deposit(app, 1, 1);
      await store.append('account-1', [{ type: 'Deposited', version: 9, data: { amount: 1 } }]);
      await deposit(app, 2, 2);
      const error = await app.catchUp().catch((thrown: unknown) => thrown);
      expect(error, 'its sequence is not known').to.be.instanceOf(ProcessorStoppedError);
      expect(handled).to.deep.equal(['account-1 1']);
    });
  });
}
