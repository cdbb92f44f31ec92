import {
  applies,
  Aggregate,
  aggregate,
  createApplication,
  DefinitionError,
  defineEvent,
  EventCodec,
  memoryStore,
  processManager,
  silentLogger,
  type AnyProcessManager,
  type Application,
  type MemoryStore,
  type Process,
  type Store,
} from '@refold/core';
import { expect } from 'chai';
import { Account, Deposited } from './account.js';

const Counted = defineEvent('Counted', (by: number) => ({ by }));
const Reminded = defineEvent('Reminded', () => ({}));
const OTHER = 'not of this application';
const Unknown = defineEvent('Unknown', () => OTHER);

const counting = { initial: () => 0, events: [Counted], evolve: (sum: number) => sum + 1 };

async function thrownBy(work: () => unknown): Promise<Error> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('nothing was thrown');
}

describe('the definition of a process manager', () => {
  it('refuses names and options that no processor may have', async () => {
    for (const define of [
      () => processManager('Order-Process'),
      () => processManager('p', { partitions: 0 }),
      () => processManager('p', { onError: 'drop' as never }),
      () => processManager('p', { retry: { maxAttempts: 0 } }),
    ]) {
      expect(await thrownBy(define)).to.be.instanceOf(DefinitionError);
    }
    expect((await thrownBy(() => processManager('Order-Process'))).message).to.match(/^Process manager /);
  });

  it('parks what goes on failing, after five attempts, unless it is told otherwise', () => {
    expect(processManager('p').errors).to.include({ onError: 'park', maxAttempts: 5 });
    const stopping = processManager('p', { onError: 'stop', retry: { maxAttempts: 2 } });
    expect(stopping.errors).to.include({ onError: 'stop', maxAttempts: 2 });
  });

  it('refuses half a state', async () => {
    const { initial, events, evolve } = counting;
    for (const half of [{ initial }, { initial, events }, { events, evolve }, { initial, evolve }]) {
      const error = await thrownBy(() => processManager('p', half as never));
      expect(error.message).to.match(/takes all three of initial, events and evolve/);
    }
  });

  it('refuses two handlers of one type, and leaves the one that had one as it was', async () => {
    const one = processManager('p').on(Deposited, () => undefined);
    const error = await thrownBy(() => one.on(Deposited, () => undefined));
    expect(error.message).to.equal('Process manager "p": it has two handlers for "Deposited"');
    expect(one.on(Counted, () => undefined).eventTypes).to.deep.equal([Deposited, Counted]);
    expect(one.eventTypes).to.deep.equal([Deposited]);
  });

  it('refuses events that were never declared', async () => {
    class Undeclared {}
    expect((await thrownBy(() => processManager('p').on(Undeclared, () => undefined))).message).to.match(
      /Undeclared/,
    );
    const events = [Undeclared];
    const error = await thrownBy(() => processManager('p', { ...counting, events }));
    expect(error.message).to.match(/Undeclared/);
  });

  it('works in an application only', async () => {
    const manager = processManager('p').on(Deposited, () => undefined);
    expect((await thrownBy(() => manager.handler())).message).to.match(/put it into processManagers/);
  });

  it('is refused by an application that has no handlers of it, or something else of its name', async () => {
    const store = memoryStore();
    const manager = processManager('account').on(Deposited, () => undefined);
    const create = (...processManagers: AnyProcessManager[]) =>
      thrownBy(() => createApplication({ store, aggregates: [Account], processManagers }));
    expect((await create(processManager('p'))).message).to.match(/^Process manager "p": it handles no event/);
    expect((await create(manager)).message).to.match(/an aggregate has this name for its category/);
    const messages = processManager('message').on(Deposited, () => undefined);
    expect((await create(messages)).message).to.match(/is that of messages/);
    const other = processManager('p').on(Deposited, () => undefined);
    expect((await create(other, other)).message).to.match(/two of that name/);
  });

  it('is refused on a store that cannot append in a transaction', async () => {
    const store = memoryStore();
    const limited = new Proxy<Store>(store, {
      get: (target, key): unknown =>
        key === 'supports' ? { ...store.supports, transactions: false } : Reflect.get(target, key, target),
    });
    const manager = processManager('p').on(Deposited, () => undefined);
    const error = await thrownBy(() => createApplication({ store: limited, processManagers: [manager] }));
    expect(error.message).to.match(/does not support process managers/);
  });
});

describe("a process manager's handler", () => {
  let store: MemoryStore;
  let app: Application;

  beforeEach(() => (store = memoryStore()));
  afterEach(() => store.close());

  /** What comes of one Deposited in a handler; its failure, if it has one. */
  async function handled(
    handler: (process: Process<number, object>) => unknown,
    options: { readonly stream?: string; readonly key?: () => string | undefined } = {},
  ): Promise<string | undefined> {
    const { stream = 'account-1', key } = options;
    const manager = processManager('p', { ...counting, key, retry: { maxAttempts: 1 } })
      .on(Deposited, async (_, process) => {
        await handler(process);
      })
      .on(Reminded, () => undefined);
    app = createApplication({
      store,
      aggregates: [Account, Tally],
      processManagers: [manager],
      logger: silentLogger,
    });
    await app.append(stream, [new Deposited(1)]);
    await app.catchUp();
    const [letter] = await app.processor('p').deadLetters.list();
    return letter?.error?.message;
  }

  async function appended(): Promise<string[]> {
    const events = await store.readAll({ after: 1 }).toArray();
    return events.map(({ stream, type }) => `${stream} ${type}`);
  }

  it('sees its state at once, and its events are those of the definition', async () => {
    const seen: number[] = [];
    const failure = await handled((process) => {
      seen.push(process.state);
      process.record(Counted(1));
      process.record(Counted(1));
      seen.push(process.state);
    });
    expect([failure, seen]).to.deep.equal([undefined, [0, 2]]);
    expect(await appended()).to.deep.equal(['p-1 Counted', 'p-1 Counted']);
  });

  it('gives every event an id that follows from its cause', async () => {
    const ids = async (): Promise<string[]> => {
      const cause = { id: '00000000-0000-7000-8000-000000000001', type: 'Deposited', data: { amount: 1 } };
      store = memoryStore();
      await store.append('account-1', [cause]);
      await handled(
        (process) => {
          process.record(Counted(1));
          process.record(Counted(1));
          process.append('account-2', [new Deposited(2)]);
        },
        { stream: 'account-9', key: () => 'one' },
      );
      return (await store.readAll({ after: 2 }).toArray()).map(({ id }) => id);
    };
    const [first, second] = [await ids(), await ids()];
    expect(new Set(first.slice(0, 2)).size).to.equal(2);
    expect(second.slice(0, 2)).to.deep.equal(first.slice(0, 2));
    for (const id of first) expect(id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
  });

  it('is not called for an event of no instance', async () => {
    let calls = 0;
    expect(await handled(() => calls++, { key: () => undefined })).to.equal(undefined);
    expect(calls).to.equal(0);
  });

  it('fails for an event whose instance has no name', async () => {
    expect(await handled(() => undefined, { key: () => '' })).to.match(
      /key of Deposited in stream "account-1" must be/,
    );
    store = memoryStore();
    expect(await handled(() => undefined, { stream: 'account' })).to.match(
      /key of Deposited in stream "account" must be/,
    );
  });

  it('fails where it appends to streams of process managers', async () => {
    const failure = await handled((process) => process.append('p-2', [Counted(1)]));
    expect(failure).to.match(/must not be one of the process manager: record there/);
    expect(await appended()).to.deep.equal([]);
  });

  it('fails for events that the application does not know, or that cannot be stored', async () => {
    expect(await handled((process) => process.append('x-1', [Unknown()]))).to.match(/"Unknown"/);
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    store = memoryStore();
    const loop = { type: 'Reminded', data: circular };
    expect(await handled((process) => process.schedule('t', { afterMs: 1 }, loop))).to.match(/JSON/i);
    expect(await appended()).to.deep.equal([]);
  });

  it('fails for timers of an event that it does not handle, of no name, or of no time', async () => {
    const reminded = Reminded();
    for (const [schedule, message] of [
      [(p) => p.schedule('t', { afterMs: 1 }, Unknown()), /schedules "Unknown", which it does not handle/],
      [(p) => p.schedule('', { afterMs: 1 }, reminded), /timer must be a name/],
      [(p) => p.schedule('t', { afterMs: -1 }, reminded), /afterMs must be/],
      [(p) => p.schedule('t', { afterMs: NaN }, reminded), /afterMs must be/],
      [(p) => p.schedule('t', { at: new Date(NaN) }, reminded), /at must be a valid date/],
      [(p) => p.cancel(''), /timer must be a name/],
    ] as [(process: Process<number, object>) => void, RegExp][]) {
      store = memoryStore();
      expect(await handled(schedule)).to.match(message);
    }
  });

  it('fails where it updates an aggregate that has no events', async () => {
    expect(await handled((process) => process.update(Tally, '1', (tally) => tally.add()))).to.match(/tally/);
    store = memoryStore();
    expect(await handled((process) => process.upsert(Tally, '1', (tally) => tally.add()))).to.equal(
      undefined,
    );
    expect(await appended()).to.deep.equal(['tally-1 Counted']);
  });

  it('takes the snapshots that aggregates ask for', async () => {
    await handled(async (process) => {
      for (let n = 0; n < 5; n++) await process.upsert(Tally, '1', (tally) => tally.add());
    });
    expect(await store.loadSnapshot('tally-1')).to.deep.include({ revision: 4, state: { sum: 5 } });
  });

  it('can do nothing when it has ended', async () => {
    let late: Process<number, object> | undefined;
    await handled((process) => void (late = process));
    expect((await thrownBy(() => late?.record(Counted(1)))).message).to.match(/ended before record had/);
    const updated = thrownBy(() => late?.update(Tally, '1', (tally) => tally.add()));
    expect((await updated).message).to.match(/ended before update had/);
  });

  it('checks what is expected of a stream against what handlers have added to it', async () => {
    const cases: [(process: Process<number, object>) => unknown, string | undefined][] = [
      [(p) => p.append('x-1', [Reminded()], { expected: 0 }), 'does not exist, expected revision 0'],
      [(p) => p.append('x-1', [Reminded()], { expected: 'stream-exists' }), 'expected it to exist'],
      [
        (p) => {
          p.append('x-1', [Reminded(), Reminded()], { expected: 'no-stream' });
          p.append('x-1', [Reminded()], { expected: 1 });
          p.append('x-1', [Reminded()], { expected: 'stream-exists' });
        },
        undefined,
      ],
      [
        (p) => {
          p.append('x-1', [Reminded()]);
          p.append('x-1', [Reminded()], { expected: 'no-stream' });
        },
        'expected no stream',
      ],
      [
        (p) => {
          p.append('x-1', [Reminded()]);
          p.append('y-1', [Reminded()]);
          p.append('x-1', [Reminded()], { expected: 0 });
        },
        undefined,
      ],
      [
        (p) => {
          p.append('account-1', [Reminded()], { expected: 'stream-exists' });
          p.append('account-1', [Reminded()], { expected: 1 });
          p.append('account-1', [Reminded()], { expected: 4 });
        },
        'at revision 2, expected revision 4',
      ],
    ];
    for (const [act, message] of cases) {
      store = memoryStore();
      const failure = await handled(act);
      if (message === undefined) expect(failure).to.equal(undefined);
      else expect(failure).to.include(message);
    }
  });

  it('makes one event of a timer, whoever comes to fire it', async () => {
    const manager = processManager('p').on(Reminded, () => undefined);
    await store.createGeneration('p', { version: 1, collections: [] });
    const event = { id: '00000000-0000-5000-8000-000000000001', type: 'Reminded', data: {} };
    const timer = { sequence: '1', slice: 5, name: 't', dueAt: new Date(0), data: event };
    await store.transaction((unit) => unit.setTimers({ processor: 'p', generation: 1 }, [timer]));
    let appends = 0;
    const bound = manager.bind({
      codec: new EventCodec([Reminded]),
      repository: () => {
        throw new Error('not needed');
      },
      appendIn: (transaction) => (all) => {
        appends += all.length;
        return store.appendAll(all, { transaction });
      },
      idsOf: () => Promise.resolve(new Set()),
    });
    const handler = bound.handler(1);
    if (!('prepare' in handler) || !handler.fire) throw new Error('it fires no timers');
    const writes = [await handler.fire([timer]), await handler.fire([timer])];
    for (const write of writes) await store.transaction((unit) => write(unit));
    expect(appends).to.equal(1);
    expect((await store.readAll().toArray()).map(({ stream, id }) => [stream, id])).to.deep.equal([
      ['p-1', event.id],
    ]);
  });
});

@aggregate('tally', { snapshotEvery: 5 })
class Tally extends Aggregate {
  sum = 0;

  add(): void {
    this.record(Counted(1));
  }

  @applies(Counted)
  protected counted(): void {
    this.sum += 1;
  }
}
