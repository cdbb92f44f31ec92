import {
  BacklogFullError,
  createApplication,
  DefinitionError,
  defineEvent,
  delivery,
  InvalidArgumentError,
  memoryStore,
  MessageRejectedError,
  silentLogger,
  TransportUnavailableError,
  type Application,
  type ApplicationOptions,
  type MessageDelivery,
  type MessageDeliveryOptions,
  type Store,
} from '@refold/core';
import { expect } from 'chai';
import { Fixture, stores, until, workUntilTheEnd } from '../processors/fixture.js';
import { GatedTransport, numberOf } from './gated-transport.js';
import { ScriptedTransport } from './scripted-transport.js';

/** On a busy machine a short lease may be lost, and what was in hand sent again. */
const steady = { leaseMs: 20_000 };

const Placed = defineEvent('Placed', (number: number) => ({ number }));

for (const { name, open } of stores) {
  describe(`a delivery with more than it can deliver, on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;
    let transport: GatedTransport;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
      transport = new GatedTransport();
      fixture.defer(() => transport.close());
    });
    afterEach(() => fixture.end());

    function outWith(options: Partial<MessageDeliveryOptions> = {}): MessageDelivery {
      return delivery('orders_out', { transport, ...options }).on(Placed);
    }

    function application(
      deliveries: MessageDelivery[],
      options: Partial<ApplicationOptions> = {},
    ): Application {
      return createApplication({ store, deliveries, logger: silentLogger, ...options });
    }

    /** Appends numbers from 1, to so many streams in turn. */
    async function place(app: Application, count: number, streams = 5): Promise<number> {
      for (let number = 1; number <= count; number++) {
        await app.append(`order-${number % streams}`, [Placed(number)]);
      }
      return app.head();
    }

    function expectAll(count: number, streams = 5): void {
      for (let stream = 0; stream < streams; stream++) {
        const all = Array.from({ length: count }, (_, index) => index + 1);
        const expected = all.filter((number) => number % streams === stream);
        expect(transport.numbersOf(`order-${stream}`)).to.deep.equal(expected);
      }
    }

    it('goes no faster than its rate, over all partitions', async () => {
      const out = outWith({ partitions: 4, rate: { perSecond: 50, burst: 5 } });
      const app = application([out]);
      const head = await place(app, 30);
      const begun = performance.now();
      workUntilTheEnd(app, fixture, steady);
      await app.waitFor(out, head);
      expect(performance.now() - begun).to.be.at.least(490);
      for (const { at } of transport.batches) {
        const second = transport.batches.filter((one) => one.at >= at && one.at < at + 100);
        expect(second.reduce((sum, { count }) => sum + count, 0)).to.be.at.most(5 + 5 + 5);
      }
      expectAll(30);
    });

    it('lets what is filtered out pass at once', async () => {
      const out = outWith({
        rate: { perSecond: 1, burst: 2 },
        where: ({ data }) => (data as { number: number }).number > 58,
      });
      const app = application([out]);
      const head = await place(app, 60);
      workUntilTheEnd(app, fixture, steady);
      await app.waitFor(out, head);
      expect(transport.accepted.map(numberOf)).to.deep.equal([59, 60]);
    });

    it('has no more in hand than it may, over all partitions', async () => {
      const out = outWith({ partitions: 4, maxInFlight: 3 });
      transport.delayMs = 2;
      const app = application([out]);
      const head = await place(app, 60, 20);
      workUntilTheEnd(app, fixture, steady);
      await app.waitFor(out, head);
      expect(transport.most).to.be.within(2, 3);
      expectAll(60, 20);
      expect((await app.processor(out).metrics()).inFlight).to.equal(0);
    });

    it('waits for those of a higher priority, but not for good', async () => {
      const high = outWith({ priority: 1, maxInFlight: 1 });
      const lowTransport = new GatedTransport();
      const low = delivery('low_out', { transport: lowTransport, maxInFlight: 1 }).on(Placed);
      transport.delayMs = 20;
      const app = application([high, low]);
      const head = await place(app, 80);
      const begun = performance.now();
      workUntilTheEnd(app, fixture, steady);
      await app.waitFor(high, head);
      const tookMs = performance.now() - begun;
      const meanwhile = lowTransport.accepted.length;
      // One before the first has begun, and then one a second.
      expect(meanwhile).to.be.at.most(2 + Math.ceil(tookMs / 1000));
      if (tookMs > 2500) expect(meanwhile).to.be.at.least(1);
      await app.waitFor(low, head);
    });

    it('waits for nobody who waits for its own subscriber', async () => {
      const away = new ScriptedTransport();
      away.script = () => new TransportUnavailableError('scripted', 'away', { retryAfterMs: 60_000 });
      const high = delivery('high_out', { transport: away, priority: 1 }).on(Placed);
      const low = outWith();
      const app = application([high, low]);
      const head = await place(app, 100);
      workUntilTheEnd(app, fixture, { ...steady, batchSize: 1 });
      await app.waitFor(low, head, { timeoutMs: 50_000 });
      expect((await app.processor(high).metrics()).unavailable).to.equal(1);
    });

    it('says when it is far behind, and when it has caught up', async () => {
      const said: string[] = [];
      const logger = {
        ...silentLogger,
        warn: (text: string) => said.push(text),
        info: (text: string) => said.push(text),
      };
      const out = outWith({ backlog: { warnAbove: 20 } });
      const app = application([out], { logger });
      transport.shut();
      const head = await place(app, 50);
      workUntilTheEnd(app, fixture, steady);
      await until(() => said.includes('"orders_out" is 50 events behind the log, more than 20'));
      transport.release();
      await app.waitFor(out, head);
      await until(() => said.includes('"orders_out" has caught up to 0 events behind the log'));
      expect(said.filter((text) => text.includes('behind the log, more'))).to.have.length(1);
    });

    it('splits its partitions while it is far behind, up to so many, and repeats nothing', async () => {
      const out = outWith({ maxInFlight: 4, backlog: { warnAbove: 20, splitUpTo: 3 } });
      transport.delayMs = 20;
      const app = application([out]);
      await place(app, 30, 20);
      workUntilTheEnd(app, fixture, steady);
      let placed = 30;
      const partitions = async (): Promise<number> => (await app.processor(out).status()).partitions.length;
      await until(async () => {
        for (let more = 0; more < 10; more++) await app.append(`order-${placed % 20}`, [Placed(++placed)]);
        return (await partitions()) === 3;
      });
      transport.delayMs = 0;
      await app.waitFor(out, await app.head());
      expect(await partitions()).to.equal(3);
      const numbers = transport.accepted.map(numberOf);
      expect(new Set(numbers).size).to.equal(placed);
      expect(numbers).to.have.length(placed);
      for (let stream = 0; stream < 20; stream++) {
        const own = transport.numbersOf(`order-${stream}`);
        expect(own).to.deep.equal([...own].sort((one, other) => one - other));
      }
    });

    it('holds producers back that ask for it, and lets them go on', async () => {
      const out = outWith();
      const working = application([out]);
      transport.shut();
      workUntilTheEnd(working, fixture, steady);
      const producing = application([out], { holdAppends: { above: 10, waitMs: 300 } });
      await place(working, 1);
      await until(async () => (await working.processor(out).status()).state === 'running');
      let error: unknown;
      await until(async () => {
        await producing.append('order-1', [Placed(2)]).catch((caught: unknown) => (error = caught));
        return error !== undefined;
      });
      expect(error).to.be.instanceOf(BacklogFullError);
      const { delivery: held, lag, above, waitedMs } = error as BacklogFullError;
      expect([held, above]).to.deep.equal(['orders_out', 10]);
      expect(lag).to.be.above(10);
      expect(waitedMs).to.be.at.least(300);
      expect(await working.head()).to.equal(lag);
      // Others need not wait, and what waits goes on when there is room again.
      await working.append('order-1', [Placed(3)]);
      const patient = application([out], {
        holdAppends: { above: 10, waitMs: 50_000, deliveries: ['orders_out'] },
      });
      const waiting = patient.append('order-1', [Placed(4)]);
      transport.release();
      await waiting;
    });

    it('sends only the newest of each key, where that is enough', async () => {
      const out = outWith({ coalesce: true });
      const app = application([out]);
      const head = await place(app, 200);
      workUntilTheEnd(app, fixture, steady);
      await app.waitFor(out, head);
      for (let stream = 0; stream < 5; stream++) {
        const numbers = transport.numbersOf(`order-${stream}`);
        expect(numbers).to.deep.equal([...numbers].sort((one, other) => one - other));
        expect(numbers.at(-1)).to.equal(stream === 0 ? 200 : 195 + stream);
      }
      const { coalesced, messages, events } = await app.processor(out).metrics();
      expect(coalesced).to.be.above(50);
      expect(messages).to.equal(transport.accepted.length);
      expect([coalesced + messages, events]).to.deep.equal([200, 200]);
    });

    it('leaves out what is too old, and counts it', async () => {
      let now = Date.now();
      const clock = {
        now: () => now,
        sleep: (ms: number, signal?: AbortSignal) =>
          new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, ms);
            signal?.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
          }),
      };
      const out = outWith({ expireAfterMs: 3_600_000 });
      const app = application([out], { clock });
      await place(app, 20);
      now = ((await app.events().toArray())[9]?.recordedAt.getTime() ?? 0) + 3_600_000;
      const old = (await app.events().toArray()).filter(
        ({ recordedAt }) => now - recordedAt.getTime() > 3_600_000,
      );
      await app.catchUp();
      expect(transport.accepted).to.have.length(20 - old.length);
      now += 1_000_000;
      await app.processor(out).reset();
      transport.accepted.length = 0;
      const fresh = await app.append('order-1', [Placed(21)]);
      expect(fresh.position).to.equal(21);
      now = ((await app.events({ after: 20 }).toArray())[0]?.recordedAt.getTime() ?? 0) + 3_600_000;
      await app.catchUp();
      const { expired, messages } = await app.processor(out).metrics();
      expect([expired, messages]).to.deep.equal([old.length + 20, 20 - old.length + 1]);
      expect(transport.accepted.map(numberOf)).to.deep.equal([21]);
    });

    it('tells how it does', async () => {
      const scripted = new ScriptedTransport();
      let away = true;
      scripted.script = (message) => {
        const error = (): Error =>
          new MessageRejectedError('scripted', message.attributes.id, message.topic, 'no');
        if (numberOf(message) === 7) return error();
        return away ? new TransportUnavailableError('scripted', 'away') : undefined;
      };
      const out = outWith({ transport: scripted, retry: { maxAttempts: 3, firstDelayMs: 1, maxDelayMs: 5 } });
      const app = application([out]);
      const head = await place(app, 20);
      expect((await app.processor(out).metrics()).lag).to.equal(20);
      workUntilTheEnd(app, fixture, steady);
      await until(async () => (await app.processor(out).metrics()).unavailable >= 3);
      const before = await app.processor(out).metrics();
      expect([before.events, before.lag, before.rejected]).to.deep.equal([0, 20, 0]);
      expect(before.lagMs).to.be.above(0);
      away = false;
      await app.waitFor(out, head);
      await until(async () => (await app.processor(out).metrics()).events === 17);
      const after = await app.processor(out).metrics();
      // Every fifth order is of one stream, and two of it wait behind the one that is parked.
      expect(after).to.include({ messages: 17, rejected: 3, parked: 1, deadLetters: 3, lag: 0, lagMs: 0 });
      expect(after.retries).to.equal(after.unavailable + 2);
      expect(after.messagesPerSecond).to.be.within(1, 17);
      expect(after.eventsPerBatch).to.equal(17 / after.batches);
    });
  });
}

describe('the settings of a backlog', () => {
  it('are refused where they make no sense', () => {
    const transport = new GatedTransport();
    const all: Partial<MessageDeliveryOptions>[] = [
      { rate: { perSecond: 0 } },
      { rate: { perSecond: 1, burst: 0 } },
      { maxInFlight: 0 },
      { maxInFlight: 1.5 },
      { priority: NaN },
      { expireAfterMs: -1 },
      { backlog: { warnAbove: -1 } },
      { backlog: { splitUpTo: 0 } },
      { backlog: { splitUpTo: 2000 } },
      { coalesce: true, guarantee: 'atMostOnce' },
    ];
    for (const options of all) {
      expect(() => delivery('out', { transport, ...options }), JSON.stringify(options)).to.throw(
        DefinitionError,
      );
    }
  });

  it('that hold appends name deliveries that there are', async () => {
    const store = memoryStore();
    const of = (holdAppends: ApplicationOptions['holdAppends']) => () =>
      createApplication({ store, holdAppends });
    expect(of({ above: 1, deliveries: ['nobody'] })).to.throw(InvalidArgumentError, 'deliveries');
    expect(of({ above: -1 })).to.throw(InvalidArgumentError);
    expect(of({ above: 1, waitMs: NaN })).to.throw(InvalidArgumentError);
    await store.close();
  });
});
