import { expect } from 'chai';
import {
  createApplication,
  delivery,
  memoryStore,
  processManager,
  silentLogger,
  type AnyProcessManager,
  type Application,
  type Store,
} from '@refold/core';
import { Fixture, until, workUntilTheEnd } from './fixture.js';
import {
  ManualClock,
  Order,
  OrderPlaced,
  payments,
  PaymentReceived,
  PaymentTimedOut,
  TIMEOUT_MS,
} from './order-process.js';

const LIVE = { processor: 'ticking', generation: 1, firstSlice: 0, lastSlice: 1023 };

describe('timers of process managers, by a clock of their own', () => {
  const fixture = new Fixture();
  let clock: ManualClock;
  let store: Store;

  beforeEach(() => {
    clock = new ManualClock();
    store = memoryStore({ clock });
    fixture.defer(() => store.close());
  });
  afterEach(() => fixture.end());

  function application(manager: AnyProcessManager): Application {
    return createApplication({
      store,
      clock,
      aggregates: [Order],
      processManagers: [manager],
      events: [PaymentReceived],
      logger: silentLogger,
    });
  }

  async function typesOf(stream: string): Promise<string[]> {
    return (await store.readStream(stream).toArray()).map(({ type }) => type);
  }

  it('fire when they are due and not before, counted from the recording of the event', async () => {
    const app = application(payments());
    await app.append('order-1', [new OrderPlaced(10)]);
    clock.advance(60_000);
    await app.catchUp();
    clock.advance(TIMEOUT_MS - 60_001);
    await app.catchUp();
    expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked']);
    clock.advance(1);
    await app.catchUp();
    expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked', 'PaymentTimedOut']);
    expect(await typesOf('order-1'), 'who catches up handles them too').to.deep.equal([
      'OrderPlaced',
      'OrderCancelled',
    ]);
    clock.advance(TIMEOUT_MS);
    await app.catchUp();
    expect(await typesOf('payments-1')).to.have.length(2);
  });

  it('wake a worker that rests', async () => {
    const app = application(payments());
    workUntilTheEnd(app, fixture);
    await app.append('order-1', [new OrderPlaced(10)]);
    await until(async () => (await typesOf('payments-1')).length === 1);
    for (let minute = 0; minute < 15; minute++) {
      expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked']);
      clock.advance(60_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await until(async () => (await typesOf('order-1')).includes('OrderCancelled'));
  });

  it('do not overtake what was recorded before they were due, however late it is handled', async () => {
    const app = application(payments());
    await app.append('order-1', [new OrderPlaced(10)]);
    await app.catchUp();
    clock.advance(TIMEOUT_MS - 1);
    await app.append('bank-1', [new PaymentReceived('1', 10)]);
    clock.advance(TIMEOUT_MS);
    await app.catchUp();
    expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked', 'Paid']);
    expect(await typesOf('order-1')).to.deep.equal(['OrderPlaced', 'OrderConfirmed']);
  });

  it('do not overtake it either in a worker that comes late', async () => {
    const app = application(payments());
    await app.append('order-1', [new OrderPlaced(10)]);
    await app.append('order-2', [new OrderPlaced(10)]);
    await app.catchUp();
    clock.advance(TIMEOUT_MS - 1);
    await app.append('bank-1', [new PaymentReceived('1', 10)]);
    clock.advance(TIMEOUT_MS);
    workUntilTheEnd(app, fixture);
    await until(async () => (await typesOf('order-2')).includes('OrderCancelled'));
    expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked', 'Paid']);
  });

  it('are at a time, and move when they are scheduled again', async () => {
    const at = clock.now() + 5000;
    const manager = processManager('reminding')
      .on(OrderPlaced, (_, process) => {
        process.schedule('remind', { at: new Date(at) }, new PaymentTimedOut());
        process.schedule('other', { at: new Date(at) }, new PaymentTimedOut());
      })
      .on(
        PaymentReceived,
        (_, process) => process.schedule('remind', { afterMs: 7000 }, new PaymentTimedOut()),
        {
          key: ({ data }) => data.order,
        },
      )
      .on(PaymentTimedOut, () => undefined);
    const app = application(manager);
    await app.append('order-1', [new OrderPlaced(10)]);
    await app.append('bank-1', [new PaymentReceived('1', 10)]);
    clock.advance(5000);
    await app.catchUp();
    expect(await typesOf('reminding-1')).to.have.length(1);
    clock.advance(1999);
    await app.catchUp();
    expect(await typesOf('reminding-1')).to.have.length(1);
    clock.advance(1);
    await app.catchUp();
    expect(await typesOf('reminding-1')).to.have.length(2);
  });

  it('repeat when their handler schedules them again, each time from the event before', async () => {
    const manager = processManager('ticking')
      .on(OrderPlaced, (_, process) => process.schedule('tick', { afterMs: 1000 }, new PaymentTimedOut()))
      .on(PaymentTimedOut, (_, process) =>
        process.schedule('tick', { afterMs: 1000 }, new PaymentTimedOut()),
      );
    const app = application(manager);
    await app.append('order-1', [new OrderPlaced(10)]);
    for (let n = 0; n < 4; n++) {
      await app.catchUp();
      clock.advance(1000);
    }
    await app.catchUp();
    const events = await store.readStream('ticking-1').toArray();
    const start = Date.UTC(2030, 0, 1);
    expect(events.map(({ recordedAt }) => recordedAt.getTime() - start)).to.deep.equal([
      1000, 2000, 3000, 4000,
    ]);
    expect(new Set(events.map(({ id }) => id)).size).to.equal(4);
  });

  it('change the state where their event is one of its own', async () => {
    const seen: number[] = [];
    const manager = processManager('ticking', {
      initial: () => 0,
      events: [PaymentTimedOut],
      evolve: (ticks) => ticks + 1,
    })
      .on(OrderPlaced, (_, process) => process.schedule('tick', { afterMs: 1000 }, new PaymentTimedOut()))
      .on(PaymentTimedOut, (_, process) => {
        seen.push(process.state);
        process.schedule('tick', { afterMs: 1000 }, new PaymentTimedOut());
      });
    const app = application(manager);
    workUntilTheEnd(app, fixture);
    await app.append('order-1', [new OrderPlaced(10)]);
    for (let ticks = 1; ticks <= 4; ticks++) {
      const due = clock.now() + 1000;
      await until(async () => (await store.timers(LIVE, 1))[0]?.dueAt.getTime() === due);
      clock.advance(1000);
      await until(() => seen.length === ticks);
    }
    expect(seen).to.deep.equal([1, 2, 3, 4]);
  });

  it('of many instances fire all, in turns', async () => {
    const app = application(payments({ partitions: 4 }));
    const ids = Array.from({ length: 350 }, (_, n) => n);
    for (const id of ids) await app.append(`order-${id}`, [new OrderPlaced(10)]);
    await app.catchUp();
    clock.advance(TIMEOUT_MS);
    await app.catchUp();
    const types = (await store.readAll().toArray()).map(({ type }) => type);
    expect(types.filter((type) => type === 'OrderCancelled')).to.have.length(350);
  });

  it('of a build wait until it is live', async () => {
    const app = application(payments());
    await app.append('order-1', [new OrderPlaced(10)]);
    await app.catchUp();
    clock.advance(TIMEOUT_MS);
    await app.processor('payments').rebuild();
    await app.catchUp();
    expect(await typesOf('payments-1')).to.deep.equal(['PaymentAsked', 'PaymentTimedOut']);
    expect(await typesOf('order-1')).to.deep.equal(['OrderPlaced', 'OrderCancelled']);
  });

  it('are handled by deliveries and projections like any event', async () => {
    const seen: string[] = [];
    const manager = payments();
    const app = createApplication({
      store,
      clock,
      aggregates: [Order],
      processManagers: [manager],
      deliveries: [delivery('timeouts').on(PaymentTimedOut, ({ stream }) => void seen.push(stream))],
      logger: silentLogger,
    });
    await app.append('order-1', [new OrderPlaced(10)]);
    await app.catchUp();
    clock.advance(TIMEOUT_MS);
    await app.catchUp();
    await app.catchUp();
    expect(seen).to.deep.equal(['payments-1']);
  });
});
