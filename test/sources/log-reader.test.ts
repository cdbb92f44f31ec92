import { expect } from 'chai';
import {
  delivery,
  documentProjection,
  logReader,
  silentLogger,
  type DocumentProjection,
  type LogReader,
  type LogReaderOptions,
  type OnError,
  type Store,
} from '@refold/core';
import { ScriptedTransport } from '../deliveries/scripted-transport.js';
import {
  balances,
  Deposited,
  documentsOf,
  Fixture,
  stores,
  until,
  type Balance,
} from '../processors/fixture.js';
import { MemoryTopic } from './memory-topic.js';

for (const { name, open } of stores) {
  describe(`readers of a log in partitions on ${name}`, () => {
    const fixture = new Fixture();
    let state: Store;
    let topic: MemoryTopic;

    beforeEach(async () => {
      state = await open(await fixture.folder());
      fixture.defer(() => state.close());
      topic = new MemoryTopic(3);
    });
    afterEach(() => fixture.end());

    function reader(options: Partial<LogReaderOptions> = {}): LogReader {
      return logReader({
        ...{ log: topic, state, logger: silentLogger, leaseMs: 500 },
        ...(options.deliveries ? {} : { projections: [balances()] }),
        ...options,
      });
    }

    /** `count` deposits of 1 for every account of a partition. */
    function deposit(count: number, from = 0): void {
      for (let n = from; n < from + count; n++) {
        for (const partition of [0, 1, 2])
          topic.add(partition, `account-${partition}`, 'Deposited', { amount: 1 });
      }
    }

    const totals = async (model = 'balances'): Promise<number[]> => {
      const documents = await documentsOf(state, model);
      return [0, 1, 2].map((account) => (documents.get(String(account)) as Balance | undefined)?.total ?? 0);
    };

    function run(one: LogReader): { stop: () => Promise<void> } {
      const stop = new AbortController();
      const running = one.run({ signal: stop.signal });
      running.catch(() => undefined);
      const end = async (): Promise<void> => {
        stop.abort();
        await running;
      };
      fixture.defer(() => end().catch(() => undefined));
      return { stop: end };
    }

    it('bring a read model to where the log reaches, each partition with a checkpoint of its own', async () => {
      deposit(20);
      topic.add(1, 'account-1', 'Deposited', { amount: 100 });
      topic.add(2, 'other-1', 'Unknown', {});
      const one = reader();
      await one.catchUp();
      expect(await totals()).to.deep.equal([20, 120, 20]);
      const status = await one.status('balances');
      expect(status.map(({ position, head }) => [position, head])).to.deep.equal([
        [20, 20],
        [21, 21],
        [21, 21],
      ]);
      await one.catchUp();
      expect(await totals()).to.deep.equal([20, 120, 20]);
    });

    it('follow the log, and go on where another reader ended', async () => {
      const first = run(reader());
      deposit(5);
      await until(async () => (await totals()).join() === '5,5,5');
      deposit(5, 5);
      await until(async () => (await totals()).join() === '10,10,10');
      await first.stop();
      deposit(1, 10);
      run(reader());
      await until(async () => (await totals()).join() === '11,11,11');
    });

    it('spread the partitions over several readers', async () => {
      const one = reader({ name: 'one' });
      run(one);
      run(reader({ name: 'two' }));
      await until(async () => {
        const status = await one.status('balances');
        return new Set(status.map(({ holder }) => holder)).size === 2 && status.every(({ holder }) => holder);
      });
      deposit(50);
      await until(async () => (await totals()).join() === '50,50,50');
    });

    it('read each partition as one stream, not anew for every batch', async () => {
      deposit(500);
      await reader().catchUp();
      expect(await totals()).to.deep.equal([500, 500, 500]);
      expect(topic.reads).to.be.at.most(3);
    });

    it('begin at the end, or behind given positions', async () => {
      deposit(10);
      const atEnd = balances({ name: 'at_end' });
      const behind = balances({ name: 'behind' });
      await reader({ projections: [atEnd], startAt: 'end' }).catchUp();
      await reader({ projections: [behind], startAt: [4, 10, 0] }).catchUp();
      expect(await totals('at_end')).to.deep.equal([0, 0, 0]);
      expect(await totals('behind')).to.deep.equal([6, 0, 10]);
      deposit(1, 10);
      await reader({ projections: [atEnd], startAt: 'beginning' }).catchUp();
      expect(await totals('at_end')).to.deep.equal([1, 1, 1]);
    });

    it('begin at what is left, where the log has forgotten its beginning', async () => {
      deposit(10);
      topic.forget(4);
      await reader().catchUp();
      expect(await totals()).to.deep.equal([7, 7, 7]);
    });

    it('rebuild a read model from any offset, while the live one is kept up', async () => {
      deposit(30);
      const one = reader();
      run(one);
      await until(async () => (await totals()).join() === '30,30,30');
      await one.rebuild('balances', { from: [10, 0, 30] });
      await until(async () => (await totals()).join() === '20,30,0');
      deposit(1, 30);
      await until(async () => (await totals()).join() === '21,31,1');
    });

    it('build a new version beside the old one, and swap it in', async () => {
      deposit(10);
      await reader().catchUp();
      const doubled = documentProjection('balances', {
        version: 2,
        initial: () => ({ total: 0, moves: 0 }),
      }).on(Deposited, ({ total, moves }, { data }) => ({ total: total + 2 * data.amount, moves }));
      await reader({ projections: [doubled] }).catchUp();
      expect(await totals()).to.deep.equal([20, 20, 20]);
    });

    it('take up a log that has got another partition by a rebuild, and say so before', async () => {
      deposit(3);
      await reader().catchUp();
      topic.grow();
      topic.add(3, 'account-0', 'Deposited', { amount: 5 });
      const one = reader();
      let thrown: unknown;
      await one.catchUp().catch((error: unknown) => (thrown = error));
      expect(String(thrown)).to.match(
        /topic in memory has 4 partitions, it has checkpoints for 3: rebuild it/,
      );
      await one.rebuild('balances');
      expect(await totals()).to.deep.equal([8, 3, 3]);
    });

    it('read on after an outage', async () => {
      deposit(10);
      topic.outages = 4;
      await reader().catchUp();
      expect(await totals()).to.deep.equal([10, 10, 10]);
    });

    function failing(onError: OnError, broken: Set<number>): DocumentProjection<Balance> {
      return documentProjection('balances', {
        onError,
        retry: { maxAttempts: 2, firstDelayMs: 1 },
        initial: (): Balance => ({ total: 0, moves: 0 }),
      }).on(Deposited, ({ total, moves }, { data }) => {
        if (broken.has(data.amount)) throw new Error(`cannot handle ${data.amount}`);
        return { total: total + data.amount, moves: moves + 1 };
      });
    }

    it('stop a processor at an event that fails, naming it, and leave the other partitions exact', async () => {
      deposit(2);
      topic.add(1, 'account-1', 'Deposited', { amount: 99 });
      deposit(1, 2);
      const broken = new Set([99]);
      let thrown: unknown;
      await reader({ projections: [failing('stop', broken)] })
        .catchUp()
        .catch((error: unknown) => (thrown = error));
      expect(String(thrown)).to.include('cannot handle 99');
      broken.clear();
      await reader({ projections: [failing('stop', broken)] }).catchUp();
      expect(await totals()).to.deep.equal([3, 102, 3]);
    });

    it('park events at the same place of two partitions, and handle them when they are retried', async () => {
      for (const partition of [0, 1]) {
        topic.add(partition, `account-${partition}`, 'Deposited', { amount: 99 });
        topic.add(partition, `account-${partition}`, 'Deposited', { amount: 1 });
      }
      deposit(1);
      const broken = new Set([99]);
      const one = reader({ projections: [failing('park', broken)] });
      await one.catchUp();
      expect(await totals()).to.deep.equal([0, 0, 1]);
      const letters = one.deadLetters('balances');
      expect(await letters.count()).to.equal(6);
      const [first] = await letters.list();
      const inspected = await letters.inspect(first?.position ?? 0);
      expect(inspected?.event?.data).to.deep.include({ amount: 99 });
      broken.clear();
      await letters.retry();
      await one.catchUp();
      expect(await totals()).to.deep.equal([101, 101, 1]);
      expect(await letters.count()).to.equal(0);
    });

    it('send what the log has through a transport', async () => {
      deposit(3);
      const transport = new ScriptedTransport();
      const forward = delivery('forward', { transport }).on(Deposited, ({ data }) => ({
        payload: data.amount,
      }));
      const one = reader({ deliveries: [forward] });
      await one.catchUp();
      expect(transport.payloads()).to.deep.equal(Array.from({ length: 9 }, () => 1));
      await one.close();
      expect([topic.closed, transport.closed]).to.deep.equal([1, 1]);
    });

    it('have no more in hand than a delivery says, and count what they do', async () => {
      deposit(10);
      let inHand = 0;
      let most = 0;
      const paced = delivery('paced', { maxInFlight: 2 }).on(Deposited, async () => {
        most = Math.max(most, (inHand += 1));
        await Promise.resolve();
        inHand -= 1;
      });
      const one = reader({ deliveries: [paced] });
      await one.catchUp();
      const { events, inFlight, eventsPerBatch } = one.metrics(paced);
      expect({ events, inFlight }).to.deep.equal({ events: 30, inFlight: 0 });
      expect(eventsPerBatch).to.be.at.most(2);
      expect(most).to.be.within(1, 2);
    });
  });
}

describe('a reader of a log in partitions', () => {
  it('is refused with processors that cannot work', async () => {
    const { memoryStore } = await import('@refold/core');
    const parts = { log: new MemoryTopic(1), state: memoryStore() };
    expect(() => logReader({ ...parts, projections: [balances(), balances()] })).to.throw(/two of that name/);
    expect(() => logReader({ ...parts, projections: [balances({ mode: 'inline' })] })).to.throw(
      /cannot be read inline/,
    );
    expect(() => logReader({ ...parts, deliveries: [delivery('none')] })).to.throw(/handles no event/);
  });
});
