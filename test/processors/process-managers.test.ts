import { expect } from 'chai';
import {
  createApplication,
  defineEvent,
  delivery,
  documentProjection,
  processManager,
  silentLogger,
  type AnyProcessManager,
  type Application,
  type Projection,
  type Store,
} from '@refold/core';
import { recordingTransport } from '@refold/testing';
import { Fixture, stores, until, workUntilTheEnd } from './fixture.js';
import { Order, OrderNoted, OrderPlaced, payments, PaymentReceived } from './order-process.js';

for (const { name, open } of stores) {
  describe(`process managers on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
    });
    afterEach(() => fixture.end());

    function application(manager: AnyProcessManager, ...projections: Projection[]): Application {
      return createApplication({
        store,
        aggregates: [Order],
        projections,
        processManagers: [manager],
        events: [OrderNoted, PaymentReceived],
        logger: silentLogger,
      });
    }

    /** The types of the events of a stream, or of the log. */
    async function typesOf(stream?: string): Promise<string[]> {
      const reader = stream === undefined ? store.readAll() : store.readStream(stream);
      return (await reader.toArray()).map(({ type }) => type);
    }

    async function place(app: Application, ...ids: (string | number)[]): Promise<void> {
      for (const id of ids) await app.repository(Order).create(String(id), (order) => order.place(10));
    }

    async function pay(app: Application, id: string | number, amount = 10): Promise<void> {
      await app.append(`bank-${id}`, [new PaymentReceived(String(id), amount)]);
    }

    async function settled(app: Application): Promise<void> {
      let head: number;
      do {
        head = await app.head();
        await app.waitFor('payments', head);
      } while ((await app.head()) > head);
    }

    it('answer events with commands and events of their own, and keep their state in a stream', async () => {
      const app = application(payments());
      await place(app, 1);
      await pay(app, 1, 4);
      await app.catchUp();
      expect((await app.repository(Order).load('1')).status).to.equal('placed');
      await pay(app, 1, 6);
      await app.catchUp();
      expect((await app.repository(Order).load('1')).status).to.equal('confirmed');
      expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked', 'Paid', 'Paid']);
      expect(await store.timers({ processor: 'payments', generation: 1, ...ALL }, 10)).to.deep.equal([]);
    });

    it('note in what they append what caused it', async () => {
      const app = application(payments());
      const stored = { type: 'OrderPlaced', data: { total: 10 }, metadata: { correlationId: 'request' } };
      await store.append('order-1', [stored]);
      await app.catchUp();
      const [cause] = await store.readStream('order-1').toArray();
      const [asked] = await store.readStream('payments-1').toArray();
      expect(asked?.metadata).to.deep.equal({ correlationId: 'request', causationId: cause?.id });
    });

    it('let handlers of one batch see what those before them did', async () => {
      const seen: unknown[] = [];
      const manager = processManager('noting').on(OrderPlaced, async (_, process) => {
        process.append('order-all', [new OrderNoted('before')]);
        await process.upsert(Order, 'all', (order) => {
          order.note(process.key);
          seen.push(order.notes);
        });
        process.append(`log-all`, [new OrderNoted(process.key)], {
          expected: process.key === '1' ? 'no-stream' : 'stream-exists',
        });
      });
      const app = application(manager);
      await place(app, 1, 2, 3);
      await app.catchUp();
      expect(seen).to.deep.equal([2, 4, 6]);
      expect((await app.repository(Order).load('all')).notes).to.equal(6);
      const texts = (await store.readStream('log-all').toArray()).map(({ data }) => data);
      expect(texts).to.deep.equal(['1', '2', '3'].map((text) => ({ text })));
      const order = (await store.readAll({ after: 3 }).toArray()).map(({ stream }) => stream);
      const once = ['order-all', 'order-all', 'log-all'];
      expect(order, 'in the order of the calls').to.deep.equal([...once, ...once, ...once]);
    });

    it('send messages that a delivery brings out, once, and none again in a replay', async () => {
      const Charge = defineEvent('Charge', (cents: number) => ({ cents }));
      let fails = true;
      const transport = recordingTransport();
      const manager = processManager('billing', { retry: { firstDelayMs: 1 } }).on(
        OrderPlaced,
        ({ data }, process) => {
          process.send(Charge(data.total), Charge(0));
          if (fails) {
            fails = false;
            throw new Error('not yet');
          }
        },
      );
      const app = createApplication({
        ...{ store, aggregates: [Order], processManagers: [manager], logger: silentLogger },
        deliveries: [delivery('charges', { transport }).on(Charge)],
      });
      await place(app, 1);
      await app.catchUp();
      await app.catchUp();
      await app.processor('billing').reset();
      await app.catchUp();
      const [placed] = await store.readStream('order-1').toArray();
      expect(
        transport.received().map(({ payload, key, causationId }) => ({ payload, key, causationId })),
      ).to.deep.equal(
        [10, 0].map((cents) => ({ payload: { cents }, key: 'message-billing-1', causationId: placed?.id })),
      );
    });

    it('do nothing of what a failed handler did, and everything once when it succeeds', async () => {
      let failures = 2;
      const manager = payments({
        retry: { firstDelayMs: 1 },
        received: ({ key }) => {
          if (key === '3' && failures-- > 0) throw new Error('too late');
        },
      });
      const app = application(manager);
      await place(app, 1, 2, 3, 4);
      for (const id of [1, 2, 3, 4]) await pay(app, id);
      await app.catchUp();
      expect(failures).to.equal(-1);
      for (const id of [1, 2, 3, 4]) {
        expect(await typesOf(`payments-${id}`)).to.deep.equal(['PaymentAsked', 'Paid']);
        expect(await typesOf(`order-${id}`)).to.deep.equal(['OrderPlaced', 'OrderConfirmed']);
      }
    });

    it('do nothing twice when a worker loses its lease in the middle', async () => {
      let stolen = false;
      const manager = payments({
        placed: async () => {
          if (stolen) return;
          stolen = true;
          const [held] = await store.partitions('payments');
          if (!held?.holder) throw new Error('not held');
          await store.acquireLease(held, { holder: held.holder, ttlMs: 50 });
        },
      });
      const app = application(manager);
      await place(app, 1, 2);
      workUntilTheEnd(app, fixture, { name: 'worker' });
      await app.waitFor('payments', 2);
      await settled(app);
      expect((await store.partitions('payments'))[0]?.token).to.be.at.least(3);
      expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked']);
      expect(await typesOf('payments-2')).to.deep.equal(['PaymentAsked']);
    });

    it('try again when somebody else has changed the same aggregate meanwhile', async () => {
      const others = 20;
      const app = application(payments());
      await place(app, 1);
      const noted = (async () => {
        for (let n = 0; n < others; n++) {
          await app.repository(Order).update('1', (order) => order.note(String(n)));
        }
      })();
      let conflicts = 0;
      const manager = payments({
        name: 'rivals',
        retry: { firstDelayMs: 1 },
        received: async ({ key }) => {
          if (conflicts++ < 6) await app.repository(Order).update(key, (order) => order.note('rival'));
        },
      });
      const rival = application(manager);
      await rival.catchUp();
      await pay(rival, 1);
      await rival.catchUp();
      await noted;
      expect(conflicts, 'more often than a failure is tried again').to.be.at.least(7);
      expect(await rival.processor('rivals').deadLetters.count()).to.equal(0);
      const order = await app.repository(Order).load('1');
      expect(order).to.include({ status: 'confirmed', notes: others + 6 });
      expect((await typesOf('order-1')).filter((type) => type === 'OrderConfirmed')).to.have.length(1);
    });

    it('see in each batch what others have done to an aggregate since the last', async () => {
      const seen: number[] = [];
      const manager = processManager('noting').on(PaymentReceived, (_, process) =>
        process.upsert(Order, 'all', (order) => {
          seen.push(order.notes);
          order.note('own');
        }),
      );
      const app = application(manager);
      workUntilTheEnd(app, fixture);
      for (let n = 0; n < 3; n++) {
        const { position } = await app.append('bank-1', [new PaymentReceived('1', n)]);
        await app.waitFor('noting', position);
        await app.repository(Order).update('all', (order) => order.note('other'));
      }
      expect(seen).to.deep.equal([0, 2, 4]);
    });

    it('run inline projections for what they append', async () => {
      const orders = documentProjection('orders', {
        mode: 'inline',
        initial: () => ({ placed: 0, noted: 0 }),
      })
        .on(OrderPlaced, (document) => void (document.placed += 1))
        .on(OrderNoted, (document) => void (document.noted += 1));
      const manager = processManager('noting').on(OrderPlaced, async (_, process) => {
        await process.update(Order, process.key, (order) => order.note('seen'));
        process.append(`other-${process.key}`, [new OrderNoted('seen')]);
      });
      const app = application(manager, orders);
      await place(app, 1);
      await app.worker({ processors: ['noting'] }).catchUp();
      expect(await app.readModel(orders).get('1')).to.deep.equal({ placed: 1, noted: 2 });
    });

    it('share their instances over partitions, and keep each in order', async () => {
      const ids = Array.from({ length: 40 }, (_, n) => n);
      const app = application(payments({ partitions: 8 }));
      workUntilTheEnd(app, fixture, { name: 'a' });
      workUntilTheEnd(app, fixture, { name: 'b' });
      await Promise.all(
        ids.map(async (id) => {
          await place(app, id);
          for (let part = 0; part < 5; part++) await pay(app, id, 2);
        }),
      );
      await settled(app);
      const paid = ['Paid', 'Paid', 'Paid', 'Paid', 'Paid'];
      for (const id of ids) {
        expect(await typesOf(`payments-${id}`)).to.deep.equal(['PaymentAsked', ...paid]);
        expect(await typesOf(`order-${id}`)).to.deep.equal(['OrderPlaced', 'OrderConfirmed']);
      }
    });

    it('park an event that goes on failing with its instance only, and go on with it when it is retried', async () => {
      let broken = true;
      const manager = payments({
        retry: { maxAttempts: 2, firstDelayMs: 1 },
        placed: ({ key }) => {
          if (broken && key === '2') throw new Error('cannot ask');
        },
      });
      const app = application(manager);
      await place(app, 1, 2, 3);
      for (const id of [1, 2, 3]) await pay(app, id);
      await app.catchUp();
      const { deadLetters } = app.processor('payments');
      const letters = (await deadLetters.list()).map(({ sequence, position }) => [sequence, position]);
      expect(letters).to.deep.equal([
        ['2', 2],
        ['2', 5],
      ]);
      expect(await typesOf('payments-2')).to.deep.equal([]);
      expect(await typesOf('order-3')).to.deep.equal(['OrderPlaced', 'OrderConfirmed']);
      broken = false;
      workUntilTheEnd(app, fixture);
      await deadLetters.retry();
      await until(async () => (await deadLetters.count()) === 0);
      expect(await typesOf('payments-2')).to.deep.equal(['PaymentAsked', 'Paid']);
      expect(await typesOf('order-2')).to.deep.equal(['OrderPlaced', 'OrderConfirmed']);
    });

    it('park what expects a stream where it can never be', async () => {
      const manager = processManager('noting', { retry: { maxAttempts: 2, firstDelayMs: 1 } }).on(
        OrderPlaced,
        (_, process) => process.append('log-all', [new OrderNoted('a')], { expected: 'no-stream' }),
      );
      const app = application(manager);
      await place(app, 1, 2);
      await app.catchUp();
      const letters = await app.processor('noting').deadLetters.list();
      expect(letters.map(({ sequence, error }) => [sequence, error?.name])).to.deep.equal([
        ['2', 'RevisionConflictError'],
      ]);
      expect(await typesOf('log-all')).to.have.length(1);
    });

    it('leave an aggregate as it was before a command that it refused', async () => {
      const refused: string[] = [];
      const manager = processManager('trying').on(OrderPlaced, async (_, process) => {
        await process.update(Order, process.key, (order) => order.note('first'));
        await process
          .update(Order, process.key, (order) => {
            order.note('half');
            throw new Error('refused');
          })
          .catch((error: Error) => refused.push(error.message));
        await process.update(Order, process.key, (order) => order.note(`after ${order.notes}`));
      });
      const app = application(manager);
      await place(app, 1);
      await app.catchUp();
      expect(refused).to.deep.equal(['refused']);
      const texts = (await store.readStream('order-1', { from: 1 }).toArray()).map(({ data }) => data);
      expect(texts).to.deep.equal([{ text: 'first' }, { text: 'after 1' }]);
    });

    it('refuse a handler that does not await what it does', async () => {
      const manager = processManager('hasty', { retry: { maxAttempts: 1 } }).on(OrderPlaced, (_, process) => {
        void process.update(Order, process.key, (order) => order.note('late'));
      });
      const app = application(manager);
      await place(app, 1);
      await app.catchUp();
      const [letter] = await app.processor('hasty').deadLetters.list();
      expect(letter?.error?.message).to.match(/OrderPlaced ended before update had: await every call/);
      expect(await typesOf()).to.deep.equal(['OrderPlaced']);
    });

    it('append nothing again in a replay, and set the timers that are still to come', async () => {
      const app = application(payments());
      await place(app, 1, 2);
      await pay(app, 1);
      await app.catchUp();
      const before = await typesOf();
      const seen: unknown[] = [];
      const again = application(
        payments({ placed: ({ replaying, state }) => seen.push([replaying, state]) }),
      );
      await again.processor('payments').reset();
      await again.catchUp();
      expect(seen).to.deep.equal([
        [true, { asked: 10, paid: 10 }],
        [true, { asked: 10, paid: 0 }],
      ]);
      expect(await typesOf()).to.deep.equal(before);
      const live = (await store.generations('payments')).find(({ status }) => status === 'live');
      if (!live) throw new Error('nothing is live');
      const timers = await store.timers({ ...live, ...ALL }, 10);
      expect(timers.map(({ sequence, name: timer }) => [sequence, timer])).to.deep.equal([['2', 'timeout']]);
      await place(again, 3);
      await again.catchUp();
      expect(await typesOf('payments-3')).to.deep.equal(['PaymentAsked']);
    });

    describe('timers', () => {
      it('fire on time while a worker runs, once, and not when they were cancelled', async () => {
        const app = application(payments({ timeoutMs: 150 }));
        workUntilTheEnd(app, fixture);
        await place(app, 1, 2);
        await pay(app, 2);
        await until(async () => (await typesOf('order-1')).includes('OrderCancelled'));
        await settled(app);
        const [placed] = await store.readStream('order-1').toArray();
        const fired = await store.readStream('payments-1', { from: 1 }).toArray();
        expect(fired.map(({ type }) => type)).to.deep.equal(['PaymentTimedOut']);
        const late = (fired[0]?.recordedAt.getTime() ?? 0) - (placed?.recordedAt.getTime() ?? 0);
        expect(late).to.be.at.least(150);
        expect(fired[0]?.metadata).to.deep.equal({ correlationId: placed?.id, causationId: placed?.id });
        expect(await typesOf('payments-2')).to.deep.equal(['PaymentAsked', 'Paid']);
        expect(await typesOf('order-2')).to.deep.equal(['OrderPlaced', 'OrderConfirmed']);
      });

      it('fire in whoever takes over from a worker that crashed after setting them', async () => {
        const app = application(payments({ timeoutMs: 100 }));
        await place(app, 1);
        await app.catchUp();
        expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked']);
        const [partition] = await store.partitions('payments');
        if (!partition) throw new Error('no partition');
        await store.acquireLease(partition, { holder: 'crashed', ttlMs: 200 });
        workUntilTheEnd(app, fixture, { name: 'next' });
        await until(async () => (await typesOf('order-1')).includes('OrderCancelled'));
        await settled(app);
        expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked', 'PaymentTimedOut']);
      });

      it('fire once each while workers come and go and partitions are split and merged', async () => {
        const ids = Array.from({ length: 60 }, (_, n) => n);
        const app = application(payments({ timeoutMs: 300 }));
        const first = workUntilTheEnd(app, fixture, { name: 'a', leaseMs: 200 });
        await place(app, ...ids);
        workUntilTheEnd(app, fixture, { name: 'b', leaseMs: 200 });
        const handle = app.processor('payments');
        await handle.split();
        await handle.split();
        // Another takes the leases away, as after an expiry: nobody may fire what the next one fires.
        for (let n = 0; n < 10; n++) {
          for (const one of await store.partitions('payments')) {
            if (one.holder) await store.acquireLease(one, { holder: one.holder, ttlMs: 20 });
          }
          await new Promise((resolve) => setTimeout(resolve, 30));
          if (n === 4) await handle.merge();
        }
        await first.stop();
        const cancelled = async (): Promise<number> =>
          (await typesOf()).filter((type) => type === 'OrderCancelled').length;
        await until(async () => {
          // An event from which leases were taken again and again is taken for one that ends its process.
          await handle.deadLetters.retry();
          return (await cancelled()) >= ids.length;
        });
        await settled(app);
        for (const id of ids) {
          expect(await typesOf(`payments-${id}`)).to.deep.equal(['PaymentAsked', 'PaymentTimedOut']);
          expect(await typesOf(`order-${id}`)).to.deep.equal(['OrderPlaced', 'OrderCancelled']);
        }
      });

      it('that fired before a reset do not fire again after it, even together with others', async () => {
        const app = application(payments({ timeoutMs: 0 }));
        await place(app, 1);
        await app.catchUp();
        await until(async () => {
          await app.catchUp();
          return (await typesOf()).includes('OrderCancelled');
        });
        const once = ['OrderPlaced', 'PaymentAsked', 'PaymentTimedOut', 'OrderCancelled'];
        expect(await typesOf()).to.deep.equal(once);
        await place(app, 2);
        await app.processor('payments').reset();
        await until(async () => {
          await app.catchUp();
          return (await typesOf('order-2')).includes('OrderCancelled');
        });
        expect(await typesOf()).to.deep.equal([...once, ...once]);
      });
    });
  });
}

const ALL = { firstSlice: 0, lastSlice: 1023 };
