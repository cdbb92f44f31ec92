import {
  Application,
  customProjection,
  DefinitionError,
  delivery,
  memoryStore,
  processManager,
  receivedMessage,
  receiver,
  silentLogger,
  Worker,
  type DeliveryContext,
  type DocumentReader,
  type Message,
  type OutgoingMessage,
  type Process,
  type ReceivedEvent,
  type ReceiverContext,
  type RecordedEvent,
  type Repository,
  type StateUnit,
  type Transport,
} from '@refold/core';
import {
  BatchUnit,
  injected,
  injectedTransport,
  readModelOf,
  refoldModule,
  repositoryOf,
  startRefold,
} from '@refold/inversify';
import { sqliteStore, type SqliteUnit } from '@refold/sqlite';
import { expect } from 'chai';
import {
  Container,
  inject,
  injectable,
  LazyServiceIdentifier,
  multiInject,
  named,
  optional,
  tagged,
  type ServiceIdentifier,
} from 'inversify';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { counter, Mailer, Order, OrderPlaced, OrderShipped, Outbox, Post, totals } from './shop.js';

const mails = delivery('mails')
  .on(OrderPlaced, injected(Mailer))
  .on(OrderShipped, injected(Mailer, 'shipped'));

function container(): { container: Container; outbox: Outbox } {
  const one = new Container();
  const outbox = new Outbox();
  one.bind(Post).toConstantValue(outbox);
  return { container: one, outbox };
}

describe('refoldModule', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'refold-inversify-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  const stores = {
    'in memory': () => memoryStore(),
    'in a SQLite file': () => sqliteStore(join(folder, 'shop.db')),
  };
  for (const [where, store] of Object.entries(stores)) {
    it(`has methods of injected classes handle events, ${where}`, async () => {
      const { container: shop, outbox } = container();
      const app = await startRefold(
        shop,
        refoldModule({ store, aggregates: [Order], projections: [totals], deliveries: [mails] }),
      );
      const orders = shop.get(repositoryOf(Order));
      await orders.create('1', (order) => order.place(10));
      await orders.update('1', (order) => order.ship());
      await app.catchUp();
      expect(outbox.sent).to.deep.equal(['order-1 placed for 10', 'order-1 shipped']);
      expect(await shop.get(readModelOf(totals)).get('1')).to.deep.equal({ total: 10 });
      await shop.unbindAllAsync();
    });
  }

  it('binds one application, worker and repository, typed as what they are', async () => {
    const one = new Container();
    const module = refoldModule({
      store: memoryStore(),
      aggregates: [Order, counter],
      projections: [totals],
    });
    one.load(module);
    const app = await one.getAsync(module.application);
    expect(one.get(Application)).to.equal(app);
    expect(one.get(Worker)).to.be.instanceOf(Worker).and.equal(one.get(Worker));
    const counters = one.get(repositoryOf(counter));
    const { result } = await counters.upsert('1', (sum) => {
      sum.execute(2);
      return sum.state;
    });
    expect(result).to.equal(2);
    expect(one.get(repositoryOf(counter))).to.equal(app.repository(counter));
    await one.unbindAllAsync();
  });

  it('gives each container instances of its own for the same definitions', async () => {
    const both = [container(), container()];
    const apps = await Promise.all(
      both.map((one) =>
        startRefold(
          one.container,
          refoldModule({ store: memoryStore(), aggregates: [Order], deliveries: [mails] }),
        ),
      ),
    );
    await apps[0]?.repository(Order).create('a', (order) => order.place(1));
    await apps[1]?.repository(Order).create('b', (order) => order.place(2));
    await Promise.all(apps.map((app) => app.catchUp()));
    expect(both.map(({ outbox }) => outbox.sent)).to.deep.equal([
      ['order-a placed for 1'],
      ['order-b placed for 2'],
    ]);
    await Promise.all(both.map((one) => one.container.unbindAllAsync()));
  });

  it('closes the application, its store and its transports when the container lets go of it', async () => {
    const closed: string[] = [];
    const Broker: ServiceIdentifier<Transport> = Symbol('Broker');
    const one = new Container();
    one
      .bind<Transport>(Broker)
      .toDynamicValue(async () => transport([], () => closed.push('transport')))
      .inSingletonScope();
    const store = memoryStore();
    const out = delivery('out', { transport: injectedTransport(Broker) }).on(OrderPlaced);
    const app = await startRefold(one, refoldModule({ store, aggregates: [Order], deliveries: [out] }));
    await one.unbindAllAsync();
    expect(closed).to.deep.equal(['transport']);
    expect(await app.head().catch((error: Error) => error.name)).to.equal('StoreClosedError');
  });

  it('closes the application when the module is unloaded, and leaves the rest of the container', async () => {
    const { container: shop, outbox } = container();
    const module = refoldModule({ store: memoryStore(), aggregates: [Order], deliveries: [mails] });
    const app = await startRefold(shop, module);
    await shop.unloadAsync(module);
    expect(await app.head().catch((error: Error) => error.name)).to.equal('StoreClosedError');
    expect([shop.isBound(Application), shop.isBound(Mailer)]).to.deep.equal([false, false]);
    expect(shop.get(Post)).to.equal(outbox);
  });

  it('leaves the container as it was when the start fails, and closes what it has opened', async () => {
    const one = new Container();
    const store = memoryStore();
    const closed: string[] = [];
    one
      .bind('Broker')
      .toDynamicValue(async () => transport([], () => closed.push('transport')))
      .inSingletonScope();
    const out = delivery('out', { transport: injectedTransport('Broker') }).on(OrderPlaced);
    const options = { store: () => store, aggregates: [Order], deliveries: [mails, out] };

    const missing = await startRefold(one, refoldModule(options)).catch((thrown: unknown) => thrown);
    expect(missing).to.include({ code: 'BAD_BINDINGS' });
    one.bind(Post).to(Outbox).inSingletonScope();
    const twice = refoldModule({ ...options, deliveries: [mails, out, out] });
    const wrong = await startRefold(one, twice).catch((thrown: unknown) => thrown);
    expect(wrong).to.be.instanceOf(DefinitionError);
    expect(closed).to.deep.equal(['transport']);
    expect(await store.head().catch((error: Error) => error.name)).to.equal('StoreClosedError');

    await startRefold(one, refoldModule({ ...options, store: memoryStore(), deliveries: [mails] }));
    await one.unbindAllAsync();
  });

  it('runs what is to be around a batch inside of it', async () => {
    const { container: shop, outbox } = container();
    const around: string[] = [];
    const app = await startRefold(
      shop,
      refoldModule({
        store: memoryStore(),
        aggregates: [Order],
        deliveries: [mails],
        aroundBatch: async ({ processor }, work) => {
          const result = await work();
          around.push(`${processor}: ${outbox.sent.length}`);
          return result;
        },
      }),
    );
    await app.repository(Order).create('1', (order) => order.place(1));
    await app.catchUp();
    expect(around).to.deep.equal(['mails: 1']);
    await shop.unbindAllAsync();
  });

  it('says that a container has an application already', async () => {
    const one = new Container();
    await startRefold(one, refoldModule({ store: memoryStore() }));
    const error = await startRefold(one, refoldModule({ store: memoryStore() })).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).to.include({ code: 'BAD_BINDINGS' });
    await one.unbindAllAsync();
  });
});

describe('the start in a container', () => {
  it('fails with all that is missing or ambiguous, and has made nothing', async () => {
    const Clock = Symbol('PostalClock');
    const Broker = Symbol('Broker') as ServiceIdentifier<Transport>;
    @injectable()
    class Stamps {
      constructor(@inject(Clock) readonly clock: unknown) {}
    }
    @injectable()
    class Letters {
      constructor(
        @inject(Stamps) readonly stamps: Stamps,
        @inject(repositoryOf(Order)) readonly orders: Repository<Order>,
        @inject('Paper') readonly paper: string,
      ) {}
      handle(_: RecordedEvent<OrderPlaced>): void {}
    }
    const one = new Container();
    one.bind(Stamps).toSelf();
    one.bind(Post).to(Outbox);
    one.bind(Post).to(Outbox);
    let opened = 0;
    const made = Mailer.made;
    const module = refoldModule({
      store: () => {
        opened += 1;
        return memoryStore();
      },
      aggregates: [Order],
      deliveries: [
        mails,
        delivery('letters').on(OrderPlaced, injected(Letters)),
        delivery('out', { transport: injectedTransport(Broker) }).on(OrderShipped),
      ],
    });
    const error = await startRefold(one, module).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(Error);
    const lines = String(error).split('\n');
    expect(lines[0]).to.equal('BindingsError: 4 bindings are missing or ambiguous:');
    expect(lines.slice(1)).to.have.lengthOf(4);
    expect(lines[1]).to.match(/^- mails > Mailer needs Post: Ambiguous bindings found/);
    expect(lines[2]).to.match(/^- letters > Letters > Stamps needs PostalClock: No bindings found/);
    expect(lines[3]).to.match(/^- letters > Letters needs Paper: No bindings found/);
    expect(lines[4]).to.match(/^- out needs Broker: No bindings found/);
    expect({ opened, made: Mailer.made }).to.deep.equal({ opened: 0, made });
  });

  it('takes what is optional, multiple, named, tagged or lazy as Inversify does', async () => {
    @injectable()
    class Asks {
      constructor(
        @inject('Nowhere') @optional() readonly nothing: string | undefined,
        @multiInject('Many') readonly many: string[],
        @inject('Word') @named('first') readonly first: string,
        @inject('Word') @tagged('place', 2) readonly second: string,
        @inject(new LazyServiceIdentifier(() => 'Late')) readonly late: string,
      ) {}
      handle(): void {
        said.push([this.nothing, ...this.many, this.first, this.second, this.late]);
      }
    }
    const said: unknown[] = [];
    const one = new Container();
    for (const text of ['a', 'b']) one.bind('Many').toConstantValue(text);
    one.bind('Word').toConstantValue('c').whenNamed('first');
    one.bind('Word').toConstantValue('d').whenTagged('place', 2);
    one.bind('Late').toConstantValue('e');
    const asks = delivery('asks').on(OrderPlaced, injected(Asks));
    const app = await startRefold(
      one,
      refoldModule({ store: memoryStore(), aggregates: [Order], deliveries: [asks] }),
    );
    await app.repository(Order).create('1', (order) => order.place(1));
    await app.catchUp();
    expect(said).to.deep.equal([[undefined, 'a', 'b', 'c', 'd', 'e']]);
    await one.unbindAllAsync();
  });

  it('misses a binding of another name', async () => {
    @injectable()
    class Asks {
      constructor(@inject('Word') @named('second') readonly word: string) {}
      handle(): void {}
    }
    const one = new Container();
    one.bind('Word').toConstantValue('c').whenNamed('first');
    const asks = delivery('asks').on(OrderPlaced, injected(Asks));
    const error = await startRefold(
      one,
      refoldModule({ store: memoryStore(), aggregates: [Order], deliveries: [asks] }),
    ).catch((thrown: unknown) => thrown);
    expect(String(error)).to.match(/- asks > Asks needs Word: No bindings found/);
  });

  it('takes classes without decorators, by what their binding names', async () => {
    class Plain {
      constructor(readonly word: string) {}
      handle(): void {
        said.push(this.word);
      }
    }
    const said: string[] = [];
    const one = new Container();
    one.bind('Word').toConstantValue('hello');
    one.bind(Plain).toResolvedValue((word: string) => new Plain(word), ['Word']);
    const words = delivery('words').on(OrderPlaced, injected(Plain));
    const app = await startRefold(
      one,
      refoldModule({ store: memoryStore(), aggregates: [Order], deliveries: [words] }),
    );
    await app.repository(Order).create('1', (order) => order.place(1));
    await app.catchUp();
    expect(said).to.deep.equal(['hello']);
    await one.unbindAllAsync();
  });

  it('names a class whose constructor is not decorated', async () => {
    class Bare {
      constructor(readonly post: Post) {}
      handle(): void {}
    }
    const bare = delivery('bare').on(OrderPlaced, injected(Bare));
    const error = await startRefold(
      container().container,
      refoldModule({ store: memoryStore(), aggregates: [Order], deliveries: [bare] }),
    ).catch((thrown: unknown) => thrown);
    expect(String(error)).to.match(/bare needs Bare: .*"Bare"/);
  });
});

describe('injected handlers', () => {
  it('can ask for repositories, read models and the application', async () => {
    @injectable()
    class Ships {
      constructor(
        @inject(repositoryOf(Order)) private readonly orders: Repository<Order>,
        @inject(readModelOf(totals)) private readonly all: DocumentReader<{ total: number }>,
        @inject(Application) private readonly app: Application,
      ) {}

      async handle({ stream, position }: RecordedEvent<OrderPlaced>): Promise<void> {
        expect(await this.app.head()).to.be.at.least(position);
        expect(await this.all.count()).to.be.at.least(0);
        await this.orders.update(stream.slice('order-'.length), (order) => order.ship());
      }
    }
    const one = new Container();
    const shipping = delivery('shipping').on(OrderPlaced, injected(Ships));
    const app = await startRefold(
      one,
      refoldModule({
        store: memoryStore(),
        aggregates: [Order],
        projections: [totals],
        deliveries: [shipping],
      }),
    );
    await app.repository(Order).create('1', (order) => order.place(1));
    const worker = one.get(Worker);
    const stop = new AbortController();
    const running = worker.run({ signal: stop.signal });
    await app.waitFor(shipping, 1);
    stop.abort();
    await running;
    expect(await app.streamEvents('order-1').toArray()).to.have.lengthOf(2);
    await one.unbindAllAsync();
  });

  it('are one instance by default, and one for every batch where asked', async () => {
    const made = { always: 0, batch: 0, shared: 0 };
    @injectable()
    class Always {
      constructor() {
        made.always += 1;
      }
      handle(): void {}
    }
    @injectable()
    class Shared {
      constructor() {
        made.shared += 1;
      }
    }
    @injectable()
    class First {
      constructor(@inject(Shared) readonly shared: Shared) {
        made.batch += 1;
      }
      handle(): void {}
    }
    @injectable()
    class Second {
      constructor(@inject(Shared) readonly shared: Shared) {}
      handle(): void {}
    }
    const one = new Container();
    one.bind(Shared).toSelf().inRequestScope();
    const app = await startRefold(
      one,
      refoldModule({
        store: memoryStore(),
        aggregates: [Order],
        deliveries: [
          delivery('always').on(OrderPlaced, injected(Always)),
          delivery('batches', { guarantee: 'exactlyOnce' })
            .on(OrderPlaced, injected(First, 'handle', { scope: 'batch' }))
            .on(OrderShipped, injected(Second, 'handle', { scope: 'batch' })),
        ],
      }),
    );
    const orders = app.repository(Order);
    for (const id of ['1', '2']) {
      await orders.create(id, (order) => {
        order.place(1);
        order.ship();
      });
      await app.catchUp();
    }
    expect(made).to.deep.equal({ always: 1, batch: 2, shared: 2 });
    await one.unbindAllAsync();
  });

  it('write with the transaction of their batch, which is undone with it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'refold-inversify-'));
    @injectable()
    class Ledger {
      constructor(@inject(BatchUnit) private readonly unit: SqliteUnit) {}
      add(order: string): void {
        this.unit.run('insert into ledger values (?)', order);
      }
    }
    let fails = true;
    @injectable()
    class Books {
      constructor(@inject(Ledger) private readonly ledger: Ledger) {}
      handle({ stream }: RecordedEvent<OrderPlaced>, { unit }: DeliveryContext<SqliteUnit>): void {
        this.ledger.add(stream);
        expect(unit.all('select * from ledger')).to.have.lengthOf(1);
        if (fails) throw new Error('not yet');
      }
    }
    const one = new Container();
    one.bind(Ledger).toSelf();
    const books = delivery<SqliteUnit>('books', { guarantee: 'exactlyOnce', retry: { maxAttempts: 1 } }).on(
      OrderPlaced,
      injected(Books, 'handle', { scope: 'batch' }),
    );
    const module = refoldModule({
      store: () => sqliteStore(join(folder, 'books.db')),
      aggregates: [Order],
      deliveries: [books],
      logger: silentLogger,
    });
    const app = await startRefold(one, module);
    await app.transaction(async (unit) => unit.run('create table ledger (entry text)'));
    await app.repository(Order).create('1', (order) => order.place(1));
    await app.catchUp();
    const entries = () => app.transaction(async (unit) => unit.all('select * from ledger'));
    expect(await entries()).to.deep.equal([]);
    fails = false;
    await app.processor(books).deadLetters.retry();
    await app.catchUp();
    expect(await entries()).to.deep.equal([{ entry: 'order-1' }]);
    await one.unbindAllAsync();
    rmSync(folder, { recursive: true });
  });

  it('handle messages, each in the transaction that remembers it', async () => {
    @injectable()
    class Intake {
      constructor(
        @inject(repositoryOf(Order)) private readonly orders: Repository<Order>,
        @inject(BatchUnit) private readonly batchUnit: StateUnit,
      ) {}
      async take({ data, message }: ReceivedEvent<OrderPlaced>, { unit }: ReceiverContext): Promise<void> {
        expect(this.batchUnit).to.equal(unit);
        await this.orders.create(message.key, (order) => order.place(data.total), { transaction: unit });
      }
    }
    const intake = receiver('intake').on(OrderPlaced, injected(Intake, 'take', { scope: 'batch' }));
    const one = new Container();
    const module = refoldModule({ store: memoryStore(), aggregates: [Order], receivers: [intake] });
    const app = await startRefold(one, module);
    const arrival = {
      topic: 'orders',
      key: '7',
      headers: { ce_id: 'm1', ce_source: '/shop', ce_type: 'OrderPlaced' },
      body: Buffer.from('{"total":30}'),
    };
    const repeats: boolean[] = [];
    for (const message of [receivedMessage(arrival, 'ce_'), receivedMessage(arrival, 'ce_')]) {
      repeats.push((await app.receive(intake, message)).duplicate);
    }
    expect(repeats).to.deep.equal([false, true]);
    expect((await app.repository(Order).load('7')).total).to.equal(30);
    await one.unbindAllAsync();
  });

  it('serve process managers, custom projections and mappings of messages too', async () => {
    @injectable()
    class All {
      async ship({ stream }: RecordedEvent<OrderPlaced>, process: Process<undefined, never>): Promise<void> {
        await process.update(Order, stream.slice('order-'.length), (order) => order.ship());
      }
      note({ stream }: RecordedEvent<OrderPlaced>): void {
        noted.push(stream);
      }
      message({ data }: RecordedEvent<OrderPlaced>): OutgoingMessage {
        return { payload: data.total };
      }
    }
    const noted: string[] = [];
    const sent: Message[] = [];
    const Broker = Symbol('Broker') as ServiceIdentifier<Transport>;
    const one = new Container();
    one
      .bind(Broker)
      .toDynamicValue(async () => transport(sent))
      .inSingletonScope();
    const app = await startRefold(
      one,
      refoldModule({
        store: memoryStore(),
        aggregates: [Order],
        projections: [
          customProjection('notes', { documents: ['notes'] }).on(OrderPlaced, injected(All, 'note')),
        ],
        deliveries: [
          delivery('out', { transport: injectedTransport(Broker) }).on(OrderPlaced, injected(All, 'message')),
        ],
        processManagers: [processManager('shipping').on(OrderPlaced, injected(All, 'ship'))],
      }),
    );
    await app.repository(Order).create('1', (order) => order.place(7));
    await app.catchUp();
    expect(noted).to.deep.equal(['order-1']);
    expect(sent.map(({ body }) => Buffer.from(body).toString())).to.deep.equal(['7']);
    expect((await app.streamEvents('order-1').toArray()).map(({ type }) => type)).to.deep.equal([
      'OrderPlaced',
      'OrderShipped',
    ]);
    await one.unbindAllAsync();
  });

  it('say so where there is no container', async () => {
    const error = await injected(Mailer)({} as RecordedEvent<OrderPlaced>).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(DefinitionError);
    expect(String(error)).to.include('injected(Mailer): there is no container here');
  });

  it('are given only to events that their methods take', () => {
    // @ts-expect-error the event is another
    delivery('wrong').on(OrderShipped, injected(Mailer));
    // @ts-expect-error there is no such method
    expect(() => injected(Mailer, 'shippd')).not.to.throw();
  });
});

function transport(sent: Message[], onClose: () => void = () => {}): Transport {
  return {
    name: 'a list',
    supports: { exactlyOnce: false },
    send: (batch) => {
      sent.push(...batch);
      return Promise.resolve({ failures: [] });
    },
    close: () => {
      onClose();
      return Promise.resolve();
    },
  };
}
