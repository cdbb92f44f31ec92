import {
  aggregate,
  Aggregate,
  aggregateTypeOf,
  applies,
  createApplication,
  decider,
  DeciderAggregate,
  defineEvent,
  DefinitionError,
  memoryStore,
  pendingEvents,
  revisionOf,
} from '@refold/core';
import { expect } from 'chai';
import { Account, Deposited, Opened, OverdrawnError, Withdrawn } from './account.js';
import { thrownBy } from './stores.js';

describe('an aggregate class', () => {
  it('applies what it records at once, and keeps it pending in order', () => {
    const account = new Account('1');
    account.open('Ann');
    account.deposit(5).withdraw(2);
    expect(account.balance).to.equal(3);
    expect(pendingEvents(account)).to.deep.equal([new Opened('Ann'), new Deposited(5), new Withdrawn(2)]);
    expect(revisionOf(account)).to.equal(-1);
  });

  it('records nothing when the domain refuses', () => {
    const account = new Account('1');
    expect(thrownBy(() => account.withdraw(1))).to.be.instanceOf(OverdrawnError);
    expect(pendingEvents(account)).to.deep.equal([]);
  });

  it('does not let a caller change what is pending', () => {
    const account = new Account('1').deposit(5);
    (pendingEvents(account) as object[]).splice(0);
    expect(pendingEvents(account)).to.have.length(1);
  });

  it('keeps an event out of the pending ones when applying it throws', () => {
    const refusal = new Error('cannot apply');
    class Fragile extends Aggregate {
      act(): void {
        this.record(new Opened('Ann'));
      }
      @applies(Opened)
      opened(): void {
        throw refusal;
      }
    }
    const fragile = new Fragile('1');
    expect(thrownBy(() => fragile.act())).to.equal(refusal);
    expect(pendingEvents(fragile)).to.deep.equal([]);
  });

  it('refuses an event of an undeclared class, and names it', () => {
    class Undeclared {}
    class Careless extends Aggregate {
      act(): void {
        this.record(new Undeclared());
      }
    }
    const careless = new Careless('1');
    const error = thrownBy(() => careless.act());
    expect(error).to.be.instanceOf(DefinitionError).and.have.property('subject', 'Event Undeclared');
    expect(pendingEvents(careless)).to.deep.equal([]);
  });

  it('records events that it does not apply', () => {
    @aggregate('quiet', { events: [Opened] })
    class Quiet extends Aggregate {
      act(): void {
        this.record(new Opened('Ann'));
      }
    }
    const quiet = new Quiet('1');
    quiet.act();
    expect(pendingEvents(quiet)).to.have.length(1);
    expect(aggregateTypeOf(Quiet).eventTypes).to.deep.equal([Opened]);
  });

  it('applies several types with one method', () => {
    class Counter extends Aggregate {
      count = 0;
      act(): void {
        this.record(new Opened('Ann'));
        this.record(new Deposited(1));
      }
      @applies(Opened, Deposited)
      counted(): void {
        this.count++;
      }
    }
    const counter = new Counter('1');
    counter.act();
    expect(counter.count).to.equal(2);
  });

  it('applies plain events, with their data', () => {
    const Renamed = defineEvent('Renamed', (name: string) => ({ name }));
    class Named extends Aggregate {
      name = '';
      rename(name: string): void {
        this.record(Renamed(name));
      }
      @applies(Renamed)
      renamed({ data }: { data: { name: string } }): void {
        this.name = data.name;
      }
    }
    const named = new Named('1');
    named.rename('Ann');
    expect(named.name).to.equal('Ann');
  });

  describe('that extends another', () => {
    class Base extends Aggregate {
      seen: string[] = [];
      act(): void {
        this.record(new Opened('Ann'));
        this.record(new Deposited(1));
      }
      @applies(Opened)
      protected opened(): void {
        this.seen.push('base opened');
      }
      @applies(Deposited)
      protected deposited(): void {
        this.seen.push('base deposited');
      }
    }
    const seenBy = (one: Base): string[] => {
      one.act();
      return one.seen;
    };

    it('inherits its methods', () => {
      class Heir extends Base {}
      expect(seenBy(new Heir('1'))).to.deep.equal(['base opened', 'base deposited']);
    });

    it('overrides a method, decorated again or not', () => {
      class Plain extends Base {
        protected override opened(): void {
          this.seen.push('plain opened');
        }
      }
      class Decorated extends Base {
        @applies(Opened)
        protected override opened(): void {
          super.opened();
          this.seen.push('decorated opened');
        }
      }
      expect(seenBy(new Plain('1'))).to.deep.equal(['plain opened', 'base deposited']);
      expect(seenBy(new Decorated('1'))).to.deep.equal(['base opened', 'decorated opened', 'base deposited']);
      expect(seenBy(new Base('1'))).to.deep.equal(['base opened', 'base deposited']);
    });

    it('may not apply an inherited event with another method', () => {
      class Double extends Base {
        @applies(Opened)
        openedToo(): void {}
      }
      const error = thrownBy(() => new Double('1').act());
      expect(error).to.be.instanceOf(DefinitionError);
      expect(error)
        .to.have.property('message')
        .that.matches(/openedToo and opened both apply "Opened"/);
    });

    it('may override apply for a dispatch of its own', () => {
      class Logged extends Base {
        protected override apply(event: object): void {
          this.seen.push(event.constructor.name);
        }
      }
      expect(seenBy(new Logged('1'))).to.deep.equal(['Opened', 'Deposited']);
    });
  });

  it('with two methods for one event is refused when the application is put together', () => {
    @aggregate('twofold')
    class Twofold extends Aggregate {
      @applies(Opened)
      one(): void {}
      @applies(Opened)
      two(): void {}
    }
    const error = thrownBy(() => createApplication({ store: memoryStore(), aggregates: [Twofold] }));
    expect(error).to.be.instanceOf(DefinitionError);
    expect(error)
      .to.have.property('message')
      .that.matches(/one and two both apply "Opened"/);
  });

  it('with an undeclared event in @applies is refused when the application is put together', () => {
    class Undeclared {}
    @aggregate('stray')
    class Stray extends Aggregate {
      @applies(Undeclared)
      one(): void {}
    }
    const error = thrownBy(() => createApplication({ store: memoryStore(), aggregates: [Stray] }));
    expect(error).to.be.instanceOf(DefinitionError).and.have.property('subject', 'Event Undeclared');
  });

  it('may not apply with a #private or a static method, which would never be called', () => {
    const declarePrivate = (): unknown =>
      class extends Aggregate {
        @applies(Opened)
        #opened(): void {}
        use(): void {
          this.#opened();
        }
      };
    const declareStatic = (): unknown =>
      class extends Aggregate {
        @applies(Opened)
        static opened(): void {}
      };
    expect(thrownBy(declarePrivate)).to.be.instanceOf(DefinitionError);
    expect(thrownBy(declareStatic)).to.be.instanceOf(DefinitionError);
    const legacyStatic = (): void => {
      applies(Opened)(class extends Aggregate {}, 'opened', {});
    };
    expect(thrownBy(legacyStatic)).to.be.instanceOf(DefinitionError);
  });

  for (const [problem, declare] of [
    ['a dash in its category', () => aggregate('a-b')],
    ['the category of messages', () => aggregate('message')],
    ['no category', () => aggregate('')],
    ['version 0', () => aggregate('a', { version: 0 })],
    ['snapshots every 0 events', () => aggregate('a', { snapshotEvery: 0 })],
    ['snapshots every 1.5 events', () => aggregate('a', { snapshotEvery: 1.5 })],
  ] as const) {
    it(`is refused with ${problem}`, () => {
      expect(thrownBy(() => declare()(class extends Aggregate {}))).to.be.instanceOf(DefinitionError);
    });
  }

  it('without @aggregate has no repository, and the error says what to add', () => {
    class Bare extends Aggregate {}
    const error = thrownBy(() => createApplication({ store: memoryStore(), aggregates: [Bare] }));
    expect(error).to.be.instanceOf(DefinitionError).and.have.property('subject', 'Aggregate Bare');
    expect(error).to.have.property('message').that.includes("@aggregate('category')");
  });
});

describe('a decider', () => {
  const Added = defineEvent('Added', (amount: number) => ({ amount }));
  const Cleared = defineEvent('Cleared', () => ({}));
  type Command = { type: 'add'; amount: number } | { type: 'clear' } | { type: 'addTwice'; amount: number };
  const refusal = new RangeError('nothing to clear');
  const counter = decider({
    category: 'counter',
    events: [Added, Cleared],
    initial: () => 0,
    decide: (command: Command, state) => {
      switch (command.type) {
        case 'add':
          return Added(command.amount);
        case 'addTwice':
          return [Added(command.amount), Added(command.amount)];
        case 'clear':
          if (state === 0) throw refusal;
          return Cleared();
      }
    },
    evolve: (state, event) => (event.type === 'Added' ? state + event.data.amount : 0),
  });

  it('executes commands on the state so far, and records the events', () => {
    const one = new DeciderAggregate('1', counter);
    expect(one.execute({ type: 'add', amount: 2 })).to.deep.equal([Added(2)]);
    expect(one.execute({ type: 'addTwice', amount: 3 })).to.have.length(2);
    expect(one.state).to.equal(8);
    expect(pendingEvents(one)).to.deep.equal([Added(2), Added(3), Added(3)]);
  });

  it('lets what decide throws out as it is', () => {
    const one = new DeciderAggregate('1', counter);
    expect(thrownBy(() => one.execute({ type: 'clear' }))).to.equal(refusal);
    expect(pendingEvents(one)).to.deep.equal([]);
  });

  it('is saved and loaded by the same repository as a class', async () => {
    const application = createApplication({ store: memoryStore(), aggregates: [counter] });
    const counters = application.repository(counter);
    await counters.create('1', (one) => one.execute({ type: 'addTwice', amount: 4 }));
    const { result } = await counters.update('1', (one) => {
      one.execute({ type: 'clear' });
      one.execute({ type: 'add', amount: 1 });
      return one.state;
    });
    expect(result).to.equal(1);
    expect((await counters.load('1')).state).to.equal(1);
    expect((await counters.load('1', { revision: 1 })).state).to.equal(8);
  });

  it('is typed by what it is made of', () => {
    const one = new DeciderAggregate('1', counter);
    const state: number = one.state;
    // @ts-expect-error there is no such command
    expect(thrownBy(() => one.execute({ type: 'substract' }))).to.be.instanceOf(TypeError);
    expect(state).to.equal(0);
  });

  it('may work with event classes', () => {
    const accounts = decider({
      category: 'account',
      events: [Deposited, Withdrawn],
      initial: () => 0,
      decide: (amount: number) => (amount < 0 ? new Withdrawn(-amount) : new Deposited(amount)),
      evolve: (state, event) => (event instanceof Deposited ? state + event.amount : state - event.amount),
    });
    const one = new DeciderAggregate('1', accounts);
    one.execute(5);
    one.execute(-2);
    expect(one.state).to.equal(3);
  });

  it('is refused without events', () => {
    const declare = (): unknown =>
      decider({ category: 'a', events: [], initial: () => 0, decide: () => [], evolve: () => 0 });
    expect(thrownBy(declare)).to.be.instanceOf(DefinitionError);
  });
});
