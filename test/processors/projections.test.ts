import { expect } from 'chai';
import {
  createApplication,
  customProjection,
  documentProjection,
  DefinitionError,
  InvalidArgumentError,
  NotIndexedError,
  ProcessorStoppedError,
  silentLogger,
  UnknownProcessorError,
  WaitTimeoutError,
  type Application,
  type Logger,
  type Progress,
  type Store,
} from '@refold/core';
import {
  Account,
  balances,
  Deposited,
  documentsOf,
  expectedBalances,
  Fixture,
  Noted,
  stores,
  Withdrawn,
  type AnyProjection,
} from './fixture.js';

for (const { name, open } of stores) {
  describe(`projections on ${name}`, () => {
    const fixture = new Fixture();
    let store: Store;

    beforeEach(async () => {
      store = await open(await fixture.folder());
      fixture.defer(() => store.close());
    });
    afterEach(() => fixture.end());

    function application(projections: AnyProjection[], logger: Logger = silentLogger): Application {
      return createApplication({ store, aggregates: [Account], projections, logger });
    }

    /** Runs a worker until the end of the test, or until the function it returns is called. */
    function work(app: Application): { stop: () => Promise<void>; ended: Promise<void> } {
      const controller = new AbortController();
      const ended = app.worker({ leaseMs: 2000 }).run({ signal: controller.signal });
      ended.catch(() => undefined);
      const stop = (): Promise<void> => {
        controller.abort();
        return ended;
      };
      fixture.defer(() => stop().catch(() => undefined));
      return { stop, ended };
    }

    async function fill(app: Application, accounts = 7, moves = 12): Promise<void> {
      const repository = app.repository(Account);
      for (let move = 0; move < moves; move++) {
        await Promise.all(
          Array.from({ length: accounts }, (_, account) =>
            repository.upsert(`a${account}`, (one) => {
              one.deposit(10 + account);
              one.note('between');
              if (move % 3 === 2) one.withdraw(5);
            }),
          ),
        );
      }
    }

    it('folds every event once into its document and reaches the awaited position', async () => {
      const app = application([balances()]);
      await fill(app);
      work(app);
      await app.waitFor('balances', await app.head());
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('finds documents by the indexes that the projection declares, page by page', async () => {
      const indexed = documentProjection('indexed', {
        initial: (): { total: number; owner: { notes: string[]; last?: string } } => ({
          total: 0,
          owner: { notes: [] },
        }),
        indexes: { total: 'number', 'owner.last': 'string' },
      })
        .on(Deposited, (document, { data }) => void (document.total += data.amount))
        .on(Noted, ({ total, owner }, { data }) => ({ total, owner: { ...owner, last: data.text } }));
      const app = application([indexed]);
      await fill(app, 5, 1);
      await app.append('account-none', [Noted('else')]);
      await app.catchUp();
      const found = app.readModel(indexed);
      const first = await found.find({ orderBy: 'total', direction: 'backward', limit: 4 });
      expect(first.entries.map(([key, { total }]) => [key, total])).to.deep.equal([
        ['a4', 14],
        ['a3', 13],
        ['a2', 12],
        ['a1', 11],
      ]);
      const rest = await found.find({ orderBy: 'total', direction: 'backward', limit: 4, after: first.next });
      expect(rest.entries.map(([key]) => key)).to.deep.equal(['a0', 'none']);
      const where = { total: { gte: 12, lt: 14 }, 'owner.last': 'between' };
      expect((await found.find({ where })).entries.map(([key]) => key)).to.deep.equal(['a2', 'a3']);
      await app.rebuild(indexed);
      expect((await found.find({ where: { 'owner.last': 'else' } })).entries).to.have.length(1);
    });

    it('finds documents of a custom projection by the indexes of its collections', async () => {
      const notes = customProjection('notes', { documents: { by_text: { length: 'number' }, plain: {} } }).on(
        Noted,
        async ({ data: { text } }, { documents }) => {
          await documents('by_text').putMany(new Map([[text, { length: text.length }]]));
          await documents('plain').putMany(new Map([[text, {}]]));
        },
      );
      const app = application([notes]);
      await app.append('account-1', [Noted('a'), Noted('bcd'), Noted('ef')]);
      await app.catchUp();
      const byText = app.readModel<{ length: number }>(notes, 'by_text');
      const { entries } = await byText.find({ where: { length: { gt: 1 } }, orderBy: 'length' });
      expect(entries).to.deep.equal([
        ['ef', { length: 2 }],
        ['bcd', { length: 3 }],
      ]);
      const plain = app.readModel(notes, 'plain');
      expect((await plain.find({ limit: 1 })).entries).to.deep.equal([['a', {}]]);
      const error: unknown = await plain.find({ orderBy: 'length' }).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(NotIndexedError).and.have.property('collection', 'plain');
      expect(() => app.readModel(notes, 'others')).to.throw(InvalidArgumentError, 'others');
    });

    it('refuses indexes that name no field', () => {
      const initial = (): Record<string, unknown> => ({});
      for (const field of ['', 'a.', '$.a', 'a b', "a'b"]) {
        const indexes = { [field]: 'string' } as const;
        const subject = 'Projection "wrong"';
        expect(() => documentProjection('wrong', { initial, indexes })).to.throw(DefinitionError, subject);
        expect(() => customProjection('wrong', { documents: { wrong: indexes } })).to.throw(
          DefinitionError,
          subject,
        );
      }
    });

    it('goes on with events that are appended while it runs', async () => {
      const projection = balances();
      const app = application([projection]);
      work(app);
      for (let total = 1; total <= 20; total++) {
        const { position } = await app.repository(Account).upsert('a', (account) => account.deposit(1));
        await app.waitFor(projection, position ?? 0);
        expect(await app.readModel(projection).get('a')).to.deep.equal({ total, moves: total });
      }
    });

    it('starts from the beginning of the log when it is added late, whatever is appended after', async () => {
      await fill(application([]));
      const app = application([balances()]);
      await app.catchUp();
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('moves its checkpoint over events that it does not handle', async () => {
      const app = application([balances()]);
      await app.append(
        'note-1',
        Array.from({ length: 30 }, (_, n) => Noted(`${n}`)),
      );
      await app.catchUp();
      const [status] = await app.status();
      expect(status).to.deep.include({ position: 30, head: 30, lag: 0 });
    });

    it('resumes from its checkpoint in a new run, handling nothing twice', async () => {
      const app = application([balances()]);
      await fill(app, 5, 4);
      await app.catchUp({ batchSize: 7 });
      await fill(app, 5, 3);
      await app.catchUp({ batchSize: 3 });
      await app.catchUp();
      expect(await documentsOf(store, 'balances')).to.deep.equal(await expectedBalances(store));
    });

    it('finishes the batch in hand and gives its lease back when it is told to stop', async () => {
      const app = application([balances()]);
      await fill(app);
      const { stop } = work(app);
      await app.waitFor('balances', await app.head());
      expect((await app.status())[0]).to.have.property('state', 'running');
      await stop();
      expect((await app.status())[0]).to.deep.include({ state: 'idle', holder: undefined });
    });

    it('deletes a document when the fold returns null, and begins anew after', async () => {
      const projection = documentProjection('open_accounts', { initial: () => ({ total: 0 }) })
        .on(Deposited, (document, { data }) => ({ total: document.total + data.amount }))
        .on(Withdrawn, () => null);
      const app = application([projection]);
      await app.append('account-1', [new Deposited(5), new Withdrawn(1), new Deposited(2)]);
      await app.append('account-2', [new Deposited(5), new Withdrawn(1)]);
      await app.catchUp();
      expect(await documentsOf(store, 'open_accounts')).to.deep.equal(new Map([['1', { total: 2 }]]));
      await app.append('account-1', [new Withdrawn(1)]);
      await app.catchUp();
      expect(await app.readModel(projection).count()).to.equal(0);
    });

    it('folds one event into all documents that its key names, and into none for undefined', async () => {
      const projection = documentProjection('words', { initial: () => ({ seen: 0 }) }).on(
        Noted,
        (document) => {
          document.seen += 1;
        },
        { key: ({ data }) => (data.text === '' ? undefined : data.text.split(' ')) },
      );
      const app = application([projection]);
      await app.append('note-1', [Noted('a b'), Noted(''), Noted('b c'), Noted('b b')]);
      await app.catchUp();
      expect(await documentsOf(store, 'words')).to.deep.equal(
        new Map([
          ['a', { seen: 1 }],
          ['b', { seen: 4 }],
          ['c', { seen: 1 }],
        ]),
      );
    });

    it('gives custom handlers the transaction, and their effects happen once', async () => {
      const projection = customProjection('journal', { documents: ['entries'] }).on(
        Deposited,
        async (event, context) => {
          const entries = context.documents('entries');
          const last = (await entries.getMany(['last'])).get('last') ?? 0;
          await entries.putMany(
            new Map<string, unknown>([
              [`p${event.position}`, { amount: event.data.amount, last }],
              ['last', event.position],
            ]),
          );
        },
      );
      const app = application([projection]);
      await app.append('account-1', [new Deposited(1), new Deposited(2)]);
      await app.catchUp();
      await app.append('account-1', [new Deposited(3)]);
      await app.catchUp();
      expect(await documentsOf(store, 'entries')).to.deep.equal(
        new Map<string, unknown>([
          ['last', 3],
          ['p1', { amount: 1, last: 0 }],
          ['p2', { amount: 2, last: 1 }],
          ['p3', { amount: 3, last: 2 }],
        ]),
      );
    });

    for (const kind of ['document', 'custom'] as const) {
      it(`stops a ${kind} projection at the event its handler throws on, with all before it kept`, async () => {
        let broken = true;
        const fail = (amount: number): boolean => broken && amount === 13;
        const projection: AnyProjection =
          kind === 'document'
            ? balances({ broken: fail })
            : customProjection('balances_by_hand', { documents: ['balances'] }).on(
                Deposited,
                async (event, context) => {
                  const documents = context.documents('balances');
                  const [key = ''] = event.stream.split('-').slice(1);
                  const before = ((await documents.getMany([key])).get(key) ?? { total: 0, moves: 0 }) as {
                    total: number;
                    moves: number;
                  };
                  const after = { total: before.total + event.data.amount, moves: before.moves + 1 };
                  await documents.putMany(new Map([[key, after]]));
                  if (fail(event.data.amount)) throw new Error(`cannot handle ${event.data.amount}`);
                },
              );
        const app = application([projection]);
        await app.append('account-1', [
          new Deposited(11),
          new Deposited(12),
          new Deposited(13),
          new Deposited(14),
        ]);
        const error = await app
          .worker()
          .run()
          .then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
        expect(error).to.be.instanceOf(ProcessorStoppedError);
        const stopped = error as ProcessorStoppedError;
        expect(stopped).to.deep.include({ processor: projection.name, code: 'PROCESSOR_STOPPED' });
        expect(stopped.event).to.deep.include({
          position: 3,
          stream: 'account-1',
          revision: 2,
          type: 'Deposited',
        });
        expect(stopped.cause).to.have.property('message', 'cannot handle 13');
        const [status] = await app.status();
        expect(status).to.deep.include({ state: 'stopped', position: 2, lag: 2 });
        expect(status?.failure).to.deep.include({ message: 'cannot handle 13', event: stopped.event });
        expect(await documentsOf(store, 'balances')).to.deep.equal(new Map([['1', { total: 23, moves: 2 }]]));

        broken = false;
        await app.catchUp();
        expect(await documentsOf(store, 'balances')).to.deep.equal(new Map([['1', { total: 50, moves: 4 }]]));
        expect((await app.status())[0]).to.deep.include({ state: 'idle', failure: undefined, lag: 0 });
      });
    }

    it('stops at an event that cannot be decoded, with all before it kept', async () => {
      const app = application([balances()]);
      await app.append('account-1', [new Deposited(1)]);
      await store.append('account-1', [{ type: 'Deposited', version: 9, data: { amount: 1 } }]);
      const error = await app.catchUp().catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProcessorStoppedError);
      expect((error as ProcessorStoppedError).cause).to.have.property('code', 'UNKNOWN_EVENT_VERSION');
      expect((await app.status())[0]).to.deep.include({ state: 'stopped', position: 1 });
    });

    it('lets the other projections go on when one stops, and says so at once', async () => {
      const said: string[] = [];
      const logger = { ...silentLogger, error: (message: string) => void said.push(message) };
      const good = balances({ name: 'good' });
      const app = application([balances({ name: 'bad', broken: (amount) => amount === 2 }), good], logger);
      const { stop, ended } = work(app);
      await app.append('account-1', [new Deposited(1), new Deposited(2), new Deposited(3)]);
      await app.waitFor(good, 3);
      const waited = await app.waitFor('bad', 3).catch((thrown: unknown) => thrown);
      expect(waited).to.be.instanceOf(ProcessorStoppedError);
      while (said.length === 0) await new Promise((resolve) => setImmediate(resolve));
      expect(said.join()).to.contain('"bad" stopped at position 2');
      await stop().catch(() => undefined);
      const error = await ended.catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProcessorStoppedError).and.have.property('processor', 'bad');
    });

    it('reports progress that ends at the head', async () => {
      const app = application([balances()]);
      await fill(app);
      const reports: Progress[] = [];
      await app.catchUp({ batchSize: 20, onProgress: (progress) => reports.push(progress) });
      const head = await app.head();
      const positions = reports.map(({ position }) => position);
      expect(positions).to.deep.equal([...positions].sort((a, b) => a - b));
      expect(reports.length).to.be.greaterThan(3);
      expect(reports[0]?.fraction).to.be.within(0, 0.9);
      expect(reports.at(-1)).to.deep.include({ position: head, target: head, fraction: 1, remainingMs: 0 });
      const handled = [...(await expectedBalances(store)).values()].reduce(
        (sum, { moves }) => sum + moves,
        0,
      );
      expect(reports.at(-1)?.events).to.equal(handled);
    });

    it('tells a caller who waits too long where the projection is', async () => {
      const app = application([balances()]);
      await app.append('account-1', [new Deposited(1)]);
      const error = await app.waitFor('balances', 1, { timeoutMs: 30 }).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(WaitTimeoutError).and.include({ position: 1, reached: 0 });
      const reason = new Error('enough');
      const aborted = app.waitFor('balances', 1, { signal: AbortSignal.abort(reason) });
      expect(await aborted.catch((thrown: unknown) => thrown)).to.equal(reason);
    });

    it('refuses projections that would overwrite each other, and names it does not know', async () => {
      expect(() => application([balances(), balances()])).to.throw(DefinitionError, 'two of that name');
      const other = customProjection('other', { documents: ['balances'] }).on(Noted, () => undefined);
      expect(() => application([balances(), other])).to.throw(DefinitionError, 'written by');
      expect(() => documentProjection('No-Good', { initial: () => ({}) })).to.throw(DefinitionError);
      expect(() => application([documentProjection('empty', { initial: () => ({}) })])).to.throw(
        'handles no event',
      );
      const error = await application([])
        .waitFor('nothing', 1)
        .catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(UnknownProcessorError);
    });
  });
}
