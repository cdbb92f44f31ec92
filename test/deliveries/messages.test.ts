import { expect } from 'chai';
import {
  createApplication,
  delivery,
  MessageRejectedError,
  silentLogger,
  TransportUnavailableError,
  withMetadata,
  type Application,
  type MessageDelivery,
  type Message,
  type Store,
} from '@refold/core';
import {
  Account,
  Deposited,
  Fixture,
  Noted,
  stores,
  until,
  Withdrawn,
  workUntilTheEnd,
} from '../processors/fixture.js';
import { ScriptedTransport } from './scripted-transport.js';

const fast = { retry: { maxAttempts: 3, firstDelayMs: 1 } };

for (const { name, open } of stores) {
  describe(`deliveries that send messages on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;
    let transport: ScriptedTransport;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
      transport = new ScriptedTransport();
    });
    afterEach(() => fixture.end());

    function application(...deliveries: MessageDelivery[]): Application {
      return createApplication({ store, aggregates: [Account], deliveries, logger: silentLogger });
    }

    /** One whose payloads are the amounts. */
    function amounts(options: { partitions?: number } = {}): MessageDelivery {
      return delivery('amounts', { transport, ...fast, ...options })
        .on(Deposited, ({ data }) => ({ payload: data.amount }))
        .on(Withdrawn, ({ data }) => ({ payload: -data.amount }));
    }

    async function deposit(app: Application, account: number, ...all: number[]): Promise<void> {
      await app.append(
        `account-${account}`,
        all.map((amount) => new Deposited(amount)),
      );
    }

    function rejected(message: Message, options: { permanent?: boolean } = {}): MessageRejectedError {
      return new MessageRejectedError('scripted', message.attributes.id, message.topic, 'no', options);
    }

    const payloadOf = (message: Message): unknown => JSON.parse(Buffer.from(message.body).toString());

    it('give each message the attributes of its event', async () => {
      const app = application(delivery('all_out', { transport, ...fast }).on(Deposited));
      await withMetadata({ correlationId: 'c', causationId: 'd', traceparent: 't' }, () =>
        deposit(app, 7, 5),
      );
      await app.catchUp();
      const [event] = await app.events().toArray();
      const [message] = transport.accepted;
      expect(message).to.deep.include({ topic: 'account', key: 'account-7', headers: {} });
      expect(message?.attributes).to.deep.include({
        specversion: '1.0',
        id: event?.id,
        source: '/all_out',
        type: 'Deposited',
        subject: 'account-7',
        time: event?.recordedAt.toISOString(),
        datacontenttype: 'application/json',
        sequence: '0000000000000001',
        partitionkey: 'account-7',
        correlationid: 'c',
        causationid: 'd',
        traceparent: 't',
        streamrevision: '0',
      });
      expect(transport.payloads()).to.deep.equal([{ amount: 5 }]);
    });

    it('map an event to no message, or to several with ids and sequences of their own', async () => {
      const app = application(
        delivery('split_out', { transport, source: 'urn:bank', topic: ({ type }) => type }).on(
          Deposited,
          ({ data: { amount } }) =>
            amount < 3
              ? undefined
              : [
                  { payload: amount },
                  {
                    payload: Buffer.from([1, 2]),
                    topic: 'bytes',
                    key: 'k',
                    type: 'Raw',
                    headers: { h: '1' },
                    attributes: { level: 'high', id: 'mine' },
                  },
                ],
        ),
      );
      await deposit(app, 1, 1, 3);
      await app.catchUp();
      const [first, second] = transport.accepted;
      expect(transport.accepted).to.have.length(2);
      expect(first).to.deep.include({ topic: 'Deposited', key: 'account-1' });
      expect(second).to.deep.include({ topic: 'bytes', key: 'k', headers: { h: '1' } });
      expect(Buffer.from(second?.body ?? []).toString('hex')).to.equal('0102');
      expect(second?.attributes).to.include({
        type: 'Raw',
        level: 'high',
        source: 'urn:bank',
        sequence: '0000000000000002.0001',
        datacontenttype: 'application/octet-stream',
      });
      expect(second?.attributes.id)
        .to.match(/^[0-9a-f-]{36}$/)
        .and.not.equal(first?.attributes.id);
      await app.processor('split_out').replay();
      expect(transport.accepted.map(({ attributes }) => attributes.id).slice(2)).to.deep.equal([
        first?.attributes.id,
        second?.attributes.id,
      ]);
    });

    it('choose events by type, category and predicate, or take every type', async () => {
      const every = new ScriptedTransport();
      const chosen = delivery('chosen', {
        transport,
        categories: ['account'],
        where: ({ stream }) => stream !== 'account-2',
      }).on(Deposited);
      const app = application(chosen, delivery('every', { transport: every }).onEvery());
      await deposit(app, 1, 1);
      await deposit(app, 2, 2);
      await app.append('saving-1', [new Deposited(3)]);
      await app.append('account-1', [Noted('hello')]);
      await app.catchUp();
      expect(transport.payloads()).to.deep.equal([{ amount: 1 }]);
      expect(every.payloads()).to.deep.equal([
        { amount: 1 },
        { amount: 2 },
        { amount: 3 },
        { text: 'hello' },
      ]);
      expect((await app.status()).map(({ lag }) => lag)).to.deep.equal([0, 0]);
    });

    it('repeat nothing that was accepted behind a message that failed', async () => {
      const app = application(amounts());
      await deposit(app, 1, 1, 2, 3);
      await deposit(app, 2, 4, 5);
      let tries = 0;
      transport.script = (message) =>
        payloadOf(message) === 2 && (tries += 1) < 3 ? rejected(message) : undefined;
      await app.catchUp();
      expect(tries).to.equal(3);
      expect(transport.payloads()).to.have.members([1, 2, 3, 4, 5]).and.have.length(5);
      const own = transport.payloads().filter((one) => Number(one) < 4);
      expect(own).to.deep.equal([1, 2, 3]);
    });

    it('park a message that goes on failing with those behind it, and send them in order when it is retried', async () => {
      const app = application(amounts({ partitions: 4 }));
      await deposit(app, 1, 1, 2, 3);
      await deposit(app, 2, 4, 5);
      transport.script = (message) => (payloadOf(message) === 2 ? rejected(message) : undefined);
      await app.catchUp();
      expect(transport.payloads()).to.have.members([1, 4, 5]).and.have.length(3);
      const { deadLetters } = app.processor('amounts');
      const letters = await deadLetters.list();
      expect(letters.map(({ position, attempts }) => [position, attempts])).to.deep.equal([
        [2, 3],
        [3, 0],
      ]);
      expect(letters[0]?.error).to.include({ name: 'MessageRejectedError' });
      transport.script = () => undefined;
      await deadLetters.retry();
      await app.catchUp();
      expect(transport.payloads().slice(3)).to.deep.equal([2, 3]);
      expect(await deadLetters.count()).to.equal(0);
    });

    it('park at once what is rejected for good', async () => {
      const app = application(amounts());
      await deposit(app, 1, 1, 2);
      let tries = 0;
      transport.script = (message) => {
        if (payloadOf(message) !== 1) return undefined;
        tries += 1;
        return rejected(message, { permanent: true });
      };
      await app.catchUp();
      expect(tries).to.equal(1);
      expect(await app.processor('amounts').deadLetters.count()).to.equal(2);
    });

    it('wait for a transport that is not available as long as it takes, and count no attempt', async () => {
      const app = application(amounts());
      await deposit(app, 1, 1, 2, 3);
      let refusals = 0;
      transport.script = () =>
        (refusals += 1) <= 10 ? new TransportUnavailableError('scripted', 'down') : undefined;
      await app.catchUp();
      expect(refusals).to.be.above(10);
      expect(transport.payloads()).to.deep.equal([1, 2, 3]);
      expect(await app.processor('amounts').deadLetters.count()).to.equal(0);
    });

    it('say in the status why they wait', async () => {
      const app = application(amounts());
      await deposit(app, 1, 1);
      transport.script = () => new TransportUnavailableError('scripted', 'down for now');
      workUntilTheEnd(app, fixture);
      await until(async () => {
        const [status] = await app.status();
        return status?.partitions[0]?.retrying?.message.includes('down for now') ?? false;
      });
    });

    it('begin where they are told: at the end, behind a position, or at a time', async () => {
      const before = application(amounts());
      await deposit(before, 1, 1, 2);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const since = new Date();
      await new Promise((resolve) => setTimeout(resolve, 5));
      await deposit(before, 1, 3, 4);
      const sent = async (startAt: { after: number } | { since: Date } | 'end' | 'beginning', id: string) => {
        const own = new ScriptedTransport();
        const app = application(delivery(id, { transport: own, startAt }).on(Deposited));
        await app.catchUp();
        return { own, app };
      };
      expect((await sent('beginning', 'd1')).own.payloads()).to.have.length(4);
      expect((await sent({ after: 3 }, 'd2')).own.payloads()).to.deep.equal([{ amount: 4 }]);
      expect((await sent({ since }, 'd3')).own.payloads()).to.deep.equal([{ amount: 3 }, { amount: 4 }]);
      const { own, app } = await sent('end', 'd4');
      expect(own.payloads()).to.deep.equal([]);
      await deposit(app, 1, 5);
      await app.catchUp();
      expect(own.payloads()).to.deep.equal([{ amount: 5 }]);
    });

    it('send a window again, marked as replayed, without moving', async () => {
      const app = application(amounts());
      await deposit(app, 1, 1, 2, 3);
      await app.catchUp();
      await app.processor('amounts').replay({ after: 1, to: 2 });
      expect(transport.payloads()).to.deep.equal([1, 2, 3, 2]);
      expect(transport.accepted.map(({ attributes }) => attributes.replayed)).to.deep.equal([
        ...[undefined, undefined, undefined],
        'true',
      ]);
    });

    it('share their events among workers, each event with one of them', async () => {
      const app = application(amounts({ partitions: 4 }));
      for (let account = 1; account <= 20; account++) await deposit(app, account, account, account + 100);
      const other = createApplication({
        store,
        aggregates: [Account],
        deliveries: [amounts()],
        logger: silentLogger,
      });
      workUntilTheEnd(app, fixture);
      workUntilTheEnd(other, fixture);
      await until(() => transport.accepted.length >= 40);
      await app.waitFor('amounts', await app.head());
      expect(new Set(transport.accepted.map(({ attributes }) => attributes.id)).size).to.equal(40);
      expect(transport.accepted).to.have.length(40);
    });

    it('send at most once, skipping what fails', async () => {
      const app = application(
        delivery('once', { transport, guarantee: 'atMostOnce' }).on(Deposited, ({ data }) => ({
          payload: data.amount,
        })),
      );
      await deposit(app, 1, 1, 2, 3);
      let tries = 0;
      transport.script = (message) => {
        if (payloadOf(message) !== 2) return undefined;
        tries += 1;
        return new TransportUnavailableError('scripted', 'down');
      };
      await app.catchUp();
      expect(transport.payloads()).to.deep.equal([1, 3]);
      expect(tries).to.equal(1);
    });

    it('close their transports with the application', async () => {
      const app = application(amounts());
      await app.close();
      expect(transport.closed).to.equal(1);
    });
  });
}

describe('a delivery that sends messages', () => {
  const transport = new ScriptedTransport();

  it('is refused with options that cannot work', () => {
    expect(() => delivery('x', { transport, guarantee: 'exactlyOnce' })).to.throw(
      /scripted cannot send exactly once: send 'atLeastOnce', and let the receiver/,
    );
    expect(() => delivery('x', { transport, categories: [] })).to.throw(/its categories are empty/);
    expect(() => delivery('x', { transport, startAt: { after: -1 } })).to.throw(/its startAt must be/);
    expect(() => delivery('x', { transport, startAt: { since: new Date('no') } })).to.throw(
      /its startAt must be/,
    );
    expect(() => delivery('x', { transport, guarantee: 'atMostOnce', onError: 'park' })).to.throw(
      /cannot be parked/,
    );
    expect(() => delivery('x', { transport }).on(Deposited).on(Deposited)).to.throw(
      /two handlers for "Deposited"/,
    );
    expect(() => delivery('x', { transport }).onEvery().onEvery()).to.throw(/onEvery is said twice/);
  });
});
