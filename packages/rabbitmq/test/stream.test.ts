import {
  createApplication,
  defineEvent,
  delivery,
  documentProjection,
  logReader,
  memoryStore,
  silentLogger,
  type LogReader,
  type MemoryStore,
} from '@refold/core';
import { rabbitmqStream, rabbitmqTransport } from '@refold/rabbitmq';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { freshName, Observer, useRabbitmq } from './broker.js';
import { until } from './messages.js';

const Measured = defineEvent('Measured', (n: number) => ({ n }));

interface Sum {
  count: number;
  sum: number;
}

const sums = documentProjection('sums', { initial: (): Sum => ({ count: 0, sum: 0 }) }).on(
  Measured,
  ({ count, sum }, { data }) => ({ count: count + 1, sum: sum + data.n }),
);

describe('a stream of RabbitMQ, read by a log reader', () => {
  const broker = useRabbitmq();
  let observer: Observer;
  let stream: string;
  let state: MemoryStore;

  beforeEach(async () => {
    observer = await Observer.at(broker().address);
    stream = freshName('history');
    state = memoryStore();
  });
  afterEach(async () => {
    observer.forget(stream);
    await observer.close();
  });

  /** Measurements `from` to before `to` of two devices, by a delivery. */
  async function send(from: number, to: number): Promise<void> {
    const topology = { queues: [{ name: stream, type: 'stream' }] } as const;
    const out = delivery('out', {
      transport: rabbitmqTransport({ url: broker().address, topology }),
      topic: stream,
    }).on(Measured);
    await using app = createApplication({ store: memoryStore(), deliveries: [out], logger: silentLogger });
    for (let n = from; n < to; n++) await app.append(`device-${n % 2}`, [Measured(n)]);
    await app.catchUp();
  }

  function reader(batchSize = 100): LogReader {
    const log = rabbitmqStream({ url: broker().address, queue: stream, batchSize });
    return logReader({ log, state, projections: [sums], batchSize, leaseMs: 500, logger: silentLogger });
  }

  async function count(): Promise<number> {
    const documents = [await state.documents('sums').get('0'), await state.documents('sums').get('1')];
    return (documents as (Sum | undefined)[]).reduce((all, one) => all + (one?.count ?? 0), 0);
  }

  const foldOf = (from: number, to: number): Sum[] =>
    [0, 1].map((device) => {
      const own = Array.from({ length: to - from }, (_, n) => from + n).filter((n) => n % 2 === device);
      return { count: own.length, sum: own.reduce((sum, n) => sum + n, 0) };
    });

  it('is projected exactly once, by readers that end in the middle and go on', async () => {
    await send(0, 600);
    for (const least of [50, 300]) {
      const one = reader(20);
      const stop = new AbortController();
      const running = one.run({ signal: stop.signal });
      await until(async () => (await count()) >= least);
      stop.abort();
      await running;
      await one.close();
    }
    await send(600, 700);
    await using last = reader();
    await last.catchUp();
    expect([await state.documents('sums').get('0'), await state.documents('sums').get('1')]).to.deep.equal(
      foldOf(0, 700),
    );
    const [part] = await last.status('sums');
    expect(part).to.include({ partition: 0, position: 700, head: 700 });
  });

  it('is rebuilt from an offset, and from its beginning', async () => {
    await send(0, 100);
    await using one = reader();
    await one.catchUp();
    await one.rebuild('sums', { from: [40] });
    const both = async (): Promise<unknown[]> => [
      await one.readModel(sums).get('0'),
      await one.readModel(sums).get('1'),
    ];
    expect(await both()).to.deep.equal(foldOf(40, 100));
    await one.rebuild(sums);
    expect(await both()).to.deep.equal(foldOf(0, 100));
  });
});
