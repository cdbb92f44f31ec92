import {
  createApplication,
  customProjection,
  defineEvent,
  delivery,
  memoryStore,
  processManager,
  receivedMessage,
  receiver,
  type AroundBatch,
} from '@refold/core';
import { expect } from 'chai';
import { AsyncLocalStorage } from 'node:async_hooks';

const Noted = defineEvent('Noted', (text: string) => ({ text }));

describe('aroundBatch', () => {
  it('surrounds the handlers of every kind of processor, inline ones too, and says in which transaction', async () => {
    const around = new AsyncLocalStorage<string>();
    const seen = new Map<string, string | undefined>();
    const aroundBatch: AroundBatch = ({ processor, unit }, work) =>
      around.run(`${processor}${unit ? ' in a transaction' : ''}`, work);
    const note = (name: string) => (): void => void seen.set(name, around.getStore());
    const app = createApplication({
      store: memoryStore(),
      aroundBatch,
      projections: [
        customProjection('custom').on(Noted, note('custom')),
        customProjection('inline', { mode: 'inline' }).on(Noted, note('inline')),
      ],
      deliveries: [
        delivery('once', { guarantee: 'exactlyOnce' }).on(Noted, note('once')),
        delivery('often').on(Noted, note('often')),
      ],
      processManagers: [processManager('process').on(Noted, note('process'))],
      receivers: [receiver('received').on(Noted, note('received'))],
    });
    await app.append('note-1', [Noted('a')]);
    await app.catchUp();
    const body = Buffer.from(JSON.stringify({ text: 'b' }));
    await app.receive(
      'received',
      receivedMessage({ topic: 'notes', headers: { type: 'Noted', id: '1' }, body }, ''),
    );
    expect(Object.fromEntries(seen)).to.deep.equal({
      inline: 'inline in a transaction',
      custom: 'custom in a transaction',
      once: 'once in a transaction',
      often: 'often',
      process: 'process',
      received: 'received in a transaction',
    });
    await app.close();
  });

  it('still lets no more events through than the rate of a delivery says', async () => {
    const handled: string[] = [];
    const slow = delivery('slow', {
      rate: { perSecond: 1, burst: 1 },
      where: ({ stream }) => stream !== 'note-1',
    }).on(Noted, ({ stream }) => void handled.push(stream));
    const app = createApplication({
      ...{ store: memoryStore(), deliveries: [slow], aroundBatch: (_, work) => work() },
    });
    for (let note = 1; note <= 3; note++) await app.append(`note-${note}`, [Noted('a')]);
    await app.catchUp({ signal: AbortSignal.timeout(300) });
    expect(handled).to.deep.equal(['note-2']);
    await app.close();
  });

  it('still closes the transports of deliveries, and begins them where they say', async () => {
    let closed = false;
    const sent: number[] = [];
    const app = createApplication({
      store: memoryStore(),
      aroundBatch: (_, work) => work(),
      events: [Noted],
      deliveries: [
        delivery('out', {
          startAt: { after: 1 },
          transport: {
            name: 'a list',
            supports: { exactlyOnce: false },
            send: (batch) => {
              sent.push(batch.length);
              return Promise.resolve({ failures: [] });
            },
            close: () => {
              closed = true;
              return Promise.resolve();
            },
          },
        }).on(Noted),
      ],
    });
    await app.append('note-1', [Noted('a')]);
    await app.append('note-2', [Noted('b')]);
    await app.catchUp();
    await app.close();
    expect({ sent, closed }).to.deep.equal({ sent: [1], closed: true });
  });
});
