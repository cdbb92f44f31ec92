import {
  applies,
  createApplication,
  decider,
  defineEvent,
  documentProjection,
  type DocumentProjection,
  memoryStore,
  processManager,
  type DataOf,
  type EventOf,
  type NoIndexes,
  type PlainEvent,
  type RecordedEvent,
} from '@refold/core';
import { expect } from 'chai';
import { Account, Deposited, Opened } from './account.js';

const Renamed = defineEvent('Renamed', (name: string) => ({ name }));
const Closed = defineEvent('Closed', () => ({ reason: 'done' as const }));

const person = decider({
  category: 'person',
  events: [Renamed, Closed],
  initial: () => ({ name: '', closed: false }),
  decide: (command: { rename: string } | 'close', state) =>
    command === 'close' ? (state.closed ? [] : Closed()) : Renamed(command.rename),
  evolve: (state, event) =>
    event.type === 'Renamed' ? { ...state, name: event.data.name } : { ...state, closed: true },
});

/** Compiles only if both types are the same. */
function same<A, B>(..._proof: [A] extends [B] ? ([B] extends [A] ? [] : [never]) : [never]): void {}

// What is written here is checked by the compiler; that it also runs shows that the types tell the truth.
describe('types', () => {
  it('of events follow from their declarations', () => {
    same<DataOf<typeof Renamed>, { name: string }>();
    same<DataOf<typeof Deposited>, Deposited>();
    same<EventOf<typeof Deposited>, Deposited>();
    same<EventOf<typeof Renamed>, PlainEvent<'Renamed', { name: string }>>();
    const type: 'Renamed' = Renamed('Ann').type;
    expect(type).to.equal('Renamed');
    // @ts-expect-error the name is a string
    Renamed(1);
  });

  it('of repositories follow from the aggregate', async () => {
    const application = createApplication({ store: memoryStore(), aggregates: [Account, person] });
    const accounts = application.repository(Account);
    const { result, position } = await accounts.create('1', (account) => {
      account.open('Ann');
      return account.deposit(5).balance;
    });
    const balance: number = result;
    const at: number | undefined = position;
    const owner: string | null = (await accounts.load('1')).owner;
    const { result: awaited } = await accounts.update('1', async ({ id }) => Promise.resolve(id));
    const id: string = awaited;
    expect([balance, at, owner, id]).to.deep.equal([5, 2, 'Ann', '1']);

    const people = application.repository(person);
    const { result: events } = await people.create('1', (one) => one.execute({ rename: 'Ann' }));
    same<typeof events, readonly (EventOf<typeof Renamed> | EventOf<typeof Closed>)[]>();
    expect(events).to.deep.equal([Renamed('Ann')]);
    const name: string = (await people.load('1')).state.name;
    expect(name).to.equal('Ann');
    // @ts-expect-error there is no such command
    const wrong = (): unknown => people.update('1', (one) => one.execute('open'));
    expect(wrong).to.be.a('function');
  });

  it('of events that are read follow from the types asked for', async () => {
    const application = createApplication({ store: memoryStore(), aggregates: [Account], events: [Renamed] });
    await application.append('account-1', [new Deposited(5)]);
    await application.append('person-1', [Renamed('Ann')]);
    const [deposited] = await application.events({ types: [Deposited] }).toArray();
    const amount: number | undefined = deposited?.data.amount;
    const [renamed] = await application.events({ types: [Renamed] }).toArray();
    const name: string | undefined = renamed?.data.name;
    const both = await application.events({ types: [Deposited, Renamed] }).toArray();
    same<(typeof both)[number]['data'], Deposited | { name: string }>();
    expect([amount, name, both.length]).to.deep.equal([5, 'Ann', 2]);
  });

  it('of projections follow from the document and the event', async () => {
    const balances = documentProjection('balances', { initial: () => ({ total: 0 }) })
      .on(Deposited, (document, { data }) => ({ total: document.total + data.amount }))
      .on(Renamed, (document, { data }) => void (document.total += data.name.length));
    // @ts-expect-error a document has a total
    balances.on(Opened, () => ({ sum: 1 }));
    const application = createApplication({ store: memoryStore(), projections: [balances] });
    await application.append('account-1', [new Deposited(5), Renamed('Ann')]);
    await application.catchUp();
    const total: number | undefined = (await application.readModel(balances).get('1'))?.total;
    expect(total).to.equal(8);
  });

  it('of process managers follow from their state, their events and the event that is handled', async () => {
    const manager = processManager('payments', {
      initial: () => ({ open: 0 }),
      events: [Renamed, Deposited],
      evolve: (state, event) => ({
        open: event instanceof Deposited ? state.open + event.amount : event.data.name.length,
      }),
    })
      .on(
        Opened,
        async ({ data }, process) => {
          const owner: string = data.owner;
          const open: number = process.state.open;
          process.record(Renamed(owner));
          process.record(new Deposited(open));
          // @ts-expect-error it is no event of its own
          const wrong = (): unknown => process.record(Closed());
          expect(wrong).to.be.a('function');
          process.schedule('later', { afterMs: 5 }, Closed());
          await process.update(Account, '1', (account) => account.deposit(5));
          await process.upsert(person, '1', (one) => one.execute({ rename: owner }));
          // @ts-expect-error there is no such command
          const open2 = (): unknown => process.update(person, '1', (one) => one.execute('open'));
          expect(open2).to.be.a('function');
        },
        { key: ({ data }) => data.owner },
      )
      .on(Closed, ({ data }) => void (data.reason satisfies 'done'));
    const owner = ({ data }: RecordedEvent<Opened>): string => data.owner;
    // @ts-expect-error the key is that of another event
    const wrong = (): unknown => manager.on(Deposited, () => undefined, { key: owner });
    const plain = processManager('plain').on(Opened, (_, process) => {
      same<typeof process.state, undefined>();
      // @ts-expect-error it has no events of its own
      const record = (): unknown => process.record(new Deposited(1));
      expect(record).to.be.a('function');
    });
    expect(wrong).to.be.a('function');
    const processManagers = [manager, plain];
    const aggregates = [Account, person];
    const application = createApplication({ store: memoryStore(), aggregates, processManagers });
    await application.append('account-1', [new Opened('Ann')]);
    await application.catchUp();
    const events = await application.streamEvents('payments-Ann').toArray();
    expect(events.map(({ type }) => type)).to.deep.equal(['Renamed', 'Deposited']);
    expect((await application.repository(person).load('1')).state.name).to.equal('Ann');
    await application.waitFor(manager, 1);
    expect(application.processor(plain).name).to.equal('plain');
  });

  it('of queries follow from the declared indexes and the document', async () => {
    interface Order {
      status: 'open' | 'closed';
      total: number;
      paid?: boolean;
      customer?: { readonly city: string | null };
      lines: string[];
    }
    const orders = documentProjection('orders', {
      initial: (): Order => ({ status: 'open', total: 0, lines: [] }),
      indexes: { status: 'string', total: 'number', paid: 'boolean', 'customer.city': 'string' },
    }).on(Deposited, (order, { data }) => ({ ...order, total: data.amount }));
    const application = createApplication({ store: memoryStore(), projections: [orders] });
    await application.append('order-1', [new Deposited(5)]);
    await application.catchUp();
    const found = application.readModel(orders);
    const page = await found.find({ where: { status: 'open', total: { gte: 5, lt: 6 } }, orderBy: 'total' });
    const entries: readonly (readonly [string, Order])[] = page.entries;
    expect(entries).to.deep.equal([['1', { status: 'open', total: 5, lines: [] }]]);
    await found.find({ where: { 'customer.city': { in: ['Bonn'] }, paid: true }, orderBy: 'customer.city' });
    const wrong = [
      // @ts-expect-error there is no such status
      () => found.find({ where: { status: 'opne' } }),
      // @ts-expect-error a total is a number
      () => found.find({ where: { total: { gt: '5' } } }),
      // @ts-expect-error lines are not indexed
      () => found.find({ where: { lines: 'a' } }),
      // @ts-expect-error nor can they order
      () => found.find({ orderBy: 'lines' }),
      // @ts-expect-error there is no such comparison
      () => found.find({ where: { total: { from: 5 } } }),
    ];
    expect(wrong).to.have.length(5);
    const any: DocumentProjection<Order> = orders;
    expect((await application.readModel(any).find({ where: { total: 5 } })).entries).to.have.length(1);
  });

  it('of indexes are those of the document', () => {
    const initial = (): { name: string; address: { street?: string } } => ({ name: '', address: {} });
    const people = documentProjection('people', { initial, indexes: { 'address.street': 'string' } });
    same<NonNullable<(typeof people)['indexes']>, { 'address.street': 'string' }>();
    const loose = documentProjection('loose', {
      initial: (): Record<string, unknown> => ({}),
      indexes: { 'any.thing': 'number' },
    });
    const keyed = documentProjection('keyed', { initial: (key) => ({ key }), indexes: { key: 'string' } });
    const none = documentProjection('none', { initial: () => ({ total: 0 }) });
    same<typeof none, DocumentProjection<{ total: number }, NoIndexes>>();
    const explicit = documentProjection<{ total: number }>('explicit', { initial: () => ({ total: 0 }) });
    const application = createApplication({ store: memoryStore() });
    const first = (): { a: string } => ({ a: '' });
    const wrong = [
      // @ts-expect-error a name is a string
      () => documentProjection('wrong', { initial, indexes: { name: 'number' } }),
      // @ts-expect-error there is no such field
      () => documentProjection('wrong', { initial, indexes: { nmae: 'string' } }),
      // @ts-expect-error nor such a nested one
      () => documentProjection('wrong', { initial, indexes: { 'address.city': 'string' } }),
      // @ts-expect-error with one type argument the indexes would be lost: initial can name the document's type
      () => documentProjection<{ a: string }>('wrong', { initial: first, indexes: { a: 'string' } }),
      // @ts-expect-error nothing is indexed
      () => application.readModel(none).find({ where: { total: 1 } }),
      // @ts-expect-error nothing is indexed
      () => application.readModel(explicit).find({ orderBy: 'total' }),
      // @ts-expect-error another field is
      () => application.readModel(keyed).find({ orderBy: 'name' }),
    ];
    expect(wrong).to.have.length(7);
    expect(people.indexes).to.deep.equal({ 'address.street': 'string' });
    expect(loose.indexes).to.deep.equal({ 'any.thing': 'number' });
  });

  it('of @applies ask for a method that takes the event', () => {
    const declare = (): unknown =>
      class {
        @applies(Deposited)
        deposited(event: Deposited): number {
          return event.amount;
        }
        @applies(Opened)
        nothing(): void {}
        @applies(Renamed, Closed)
        plain(event: EventOf<typeof Renamed> | EventOf<typeof Closed>): string {
          return event.type;
        }
        // @ts-expect-error the method takes another event
        @applies(Opened)
        wrong(event: Deposited): number {
          return event.amount;
        }
        // @ts-expect-error the method takes only one of the events
        @applies(Opened, Deposited)
        narrow(event: Deposited): number {
          return event.amount;
        }
      };
    expect(declare).to.not.throw();
  });
});
