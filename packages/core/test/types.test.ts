import {
  applies,
  createApplication,
  decider,
  defineEvent,
  documentProjection,
  memoryStore,
  type DataOf,
  type EventOf,
  type PlainEvent,
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
