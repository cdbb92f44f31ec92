import { expect } from 'chai';
import {
  createApplication,
  delivery,
  ProcessorStoppedError,
  silentLogger,
  type Application,
  type DeliveryOptions,
  type Lease,
  type Store,
} from '@refold/core';
import { Account, Deposited, Fixture, stores } from './fixture.js';

for (const { name, open } of stores) {
  describe(`events that end their process, on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;
    let handled: number[];
    let broken: boolean;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
      handled = [];
      broken = false;
    });
    afterEach(() => fixture.end());

    /** Three events, at the first of which so many processes have ended. */
    async function application(deaths: number, options: DeliveryOptions): Promise<Application> {
      const notes = delivery('notes', options).on(Deposited, ({ data: { amount } }) => {
        if (broken && amount === 1) throw new Error('broken');
        handled.push(amount);
      });
      const app = createApplication({
        store,
        aggregates: [Account],
        deliveries: [notes],
        logger: silentLogger,
      });
      await app.append('account-1', [new Deposited(1), new Deposited(2)]);
      await app.append('account-2', [new Deposited(3)]);
      const { generation } = await store.createGeneration('notes', { version: 1, collections: [] });
      for (let death = 1; death <= deaths; death++) {
        await store.beginAttempt(await acquired(generation, `gone-${death}`), 1);
      }
      return app;
    }

    /** The lease, as soon as that of the holder before has run out. */
    async function acquired(generation: number, holder: string): Promise<Lease> {
      for (;;) {
        const partition = { processor: 'notes', generation, firstSlice: 0 };
        const lease = await store.acquireLease(partition, { holder, ttlMs: 1 });
        if (lease) return lease;
      }
    }

    it('are given up after three of them, and hold back nothing but their sequence', async () => {
      const app = await application(3, { onError: 'park' });
      await app.catchUp();
      const letters = await app.processor('notes').deadLetters.list();
      expect(letters.map(({ position, error }) => [position, error?.message])).to.deep.equal([
        [1, 'The process ended 3 times while it was handled'],
        [2, undefined],
      ]);
      expect(handled).to.deep.equal([3]);
    });

    it('are tried again in full when a processor that stopped at them is resumed', async () => {
      const app = await application(3, { onError: 'stop' });
      await app.catchUp().then(
        () => expect.fail('it did not stop'),
        (error: unknown) => expect(error).to.be.instanceOf(ProcessorStoppedError),
      );
      expect(handled).to.deep.equal([]);
      await app.processor('notes').resume();
      await app.catchUp();
      expect(handled).to.deep.equal([1, 2, 3]);
    });

    it('are retried like any other that throws, where one process has ended and the next does not', async () => {
      broken = true;
      const app = await application(1, { onError: 'park', retry: { maxAttempts: 6, firstDelayMs: 1 } });
      await app.catchUp();
      const [letter] = await app.processor('notes').deadLetters.list();
      expect(letter).to.deep.include({ position: 1, attempts: 6 });
      expect(letter?.error?.message).to.equal('broken');
    });
  });
}
