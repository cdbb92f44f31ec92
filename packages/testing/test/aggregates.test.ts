import { AssertionError } from 'node:assert';
import { aggregate, Aggregate, applies, decider, defineEvent, event } from '@refold/core';
import { given } from '@refold/testing';
import { expect } from 'chai';

@event('OrderPlaced')
class OrderPlaced {
  constructor(readonly total: number) {}
}

@event('OrderShipped')
class OrderShipped {}

class NotPlacedError extends Error {}

@aggregate('order')
class Order extends Aggregate {
  total = 0;
  shipped = false;

  place(total: number): void {
    this.record(new OrderPlaced(total));
  }

  ship(): void {
    if (this.total === 0) throw new NotPlacedError(`order ${this.id} was never placed`);
    if (!this.shipped) this.record(new OrderShipped());
  }

  @applies(OrderPlaced)
  protected placed({ total }: OrderPlaced): void {
    this.total = total;
  }

  @applies(OrderShipped)
  protected wasShipped(): void {
    this.shipped = true;
  }
}

const Deposited = defineEvent('Deposited', (amount: number) => ({ amount }));
const Withdrawn = defineEvent('Withdrawn', (amount: number) => ({ amount }));
type Command = { type: 'deposit' | 'withdraw'; amount: number } | { type: 'drain' };

const wallet = decider({
  category: 'wallet',
  events: [Deposited, Withdrawn],
  snapshotEvery: 10,
  initial: () => ({ balance: 0 }),
  decide: (command: Command, { balance }) => {
    if (command.type === 'deposit') return Deposited(command.amount);
    if (command.type === 'drain') return balance === 0 ? [] : Withdrawn(balance);
    if (command.amount > balance) throw new RangeError(`only ${balance} left`);
    return Withdrawn(command.amount);
  },
  evolve: ({ balance }, { type, data }) => ({
    balance: type === 'Deposited' ? balance + data.amount : balance - data.amount,
  }),
});

/** What a check fails with. */
function failureOf(check: () => unknown): AssertionError {
  try {
    check();
  } catch (error) {
    if (error instanceof AssertionError) return error;
    throw error;
  }
  throw new Error('Expected the check to fail');
}

async function failureLater(check: Promise<unknown>): Promise<AssertionError> {
  const outcome = await check.then(
    () => new Error('Expected the check to fail'),
    (error: unknown) => error,
  );
  if (outcome instanceof AssertionError) return outcome;
  throw outcome;
}

describe('given/when/then of a class', () => {
  const placed = given(Order, [new OrderPlaced(2)]);

  it('passes where the recorded events are the expected ones', () => {
    placed.when((order) => order.ship()).then([new OrderShipped()]);
    given(Order)
      .when((order) => {
        order.place(3);
        order.ship();
      })
      .then([new OrderPlaced(3), new OrderShipped()]);
  });

  it('fails with a diff where an event has other data', () => {
    const failure = failureOf(() =>
      given(Order)
        .when((order) => order.place(3))
        .then([new OrderPlaced(4)]),
    );
    expect(failure.message).to.match(/^The recorded events are not the expected ones:\n/);
    expect(failure.message)
      .to.match(/^\+ +total: 3$/m)
      .and.match(/^- +total: 4$/m);
    expect(failure.actual).to.deep.equal([{ type: 'OrderPlaced', data: { total: 3 } }]);
    expect(failure.expected).to.deep.equal([{ type: 'OrderPlaced', data: { total: 4 } }]);
  });

  it('fails where there are more events, fewer, others, or another order', () => {
    const act = (order: Order): void => {
      order.place(3);
      order.ship();
    };
    for (const expected of [
      [],
      [new OrderPlaced(3)],
      [new OrderShipped(), new OrderPlaced(3)],
      [new OrderPlaced(3), new OrderShipped(), new OrderShipped()],
      [new OrderPlaced(3), new OrderPlaced(3)],
    ]) {
      expect(failureOf(() => given(Order).when(act).then(expected)).message).to.match(
        /not the expected ones/,
      );
    }
  });

  it('fails where the domain threw instead, and keeps what it threw as the cause', () => {
    const failure = failureOf(() =>
      given(Order)
        .when((order) => order.ship())
        .then([new OrderShipped()]),
    );
    expect(failure.message).to.equal(
      'Expected it to record OrderShipped, but it threw NotPlacedError: order 1 was never placed',
    );
    expect(failure.cause).to.be.instanceOf(NotPlacedError);
  });

  it('thenThrows accepts a class, a message and a predicate, and returns what was thrown', () => {
    const refused = given(Order, [], { id: '7' }).when((order) => order.ship());
    expect(refused.thenThrows(NotPlacedError)).to.be.instanceOf(NotPlacedError);
    refused.thenThrows(Error);
    refused.thenThrows(/order 7 was never placed/);
    refused.thenThrows((error) => error instanceof NotPlacedError);
  });

  it('thenThrows fails where another error was thrown, or none', () => {
    const refused = given(Order).when((order) => order.ship());
    for (const expected of [TypeError, /shipped/, () => false]) {
      const failure = failureOf(() => refused.thenThrows(expected));
      expect(failure.message).to.match(/but it threw NotPlacedError: order 1 was never placed$/);
    }
    const shipped = placed.when((order) => order.ship());
    expect(failureOf(() => shipped.thenThrows(NotPlacedError)).message).to.equal(
      'Expected NotPlacedError to be thrown, but it recorded OrderShipped',
    );
  });

  it('thenNothing passes where nothing was recorded, and fails where something was', () => {
    given(Order, [new OrderPlaced(1), new OrderShipped()])
      .when((order) => order.ship())
      .thenNothing();
    expect(failureOf(() => placed.when((order) => order.ship()).thenNothing()).message).to.equal(
      'Expected nothing to be recorded, but it recorded OrderShipped',
    );
    const refused = given(Order).when((order) => order.ship());
    expect(failureOf(() => refused.thenNothing()).message).to.match(/threw NotPlacedError/);
  });

  it('thenState compares the named properties, or asks a callback', () => {
    placed
      .when((order) => order.ship())
      .then([new OrderShipped()])
      .thenState({ shipped: true })
      .thenState((order) => expect(order.total).to.equal(2))
      .thenState((order) => order.shipped);
  });

  it('thenState fails where a property differs, the callback throws, or returns false', () => {
    const acted = placed.when((order) => order.ship());
    const failure = failureOf(() => acted.thenState({ shipped: false, total: 2 }));
    expect(failure.message)
      .to.match(/^The state is not the expected one:\n/)
      .and.match(/^- +shipped: false/m);
    expect(failureOf(() => acted.thenState(({ total }) => total === 9)).message).to.match(/returned false/);
    const thrown = new Error('mine');
    const check = (): never => {
      throw thrown;
    };
    expect(() => acted.thenState(check)).to.throw(thrown);
    expect(() => acted.thenState(async () => Promise.resolve())).to.throw(TypeError);
    const refused = given(Order).when((order) => order.ship());
    expect(failureOf(() => refused.thenState({ shipped: false })).message).to.match(/threw NotPlacedError/);
  });

  it('folds the history anew for every when', () => {
    placed.when((order) => order.place(9)).thenState({ total: 9 });
    placed.when(() => {}).thenState({ total: 2 });
  });

  it('awaits a callback that is asynchronous', async () => {
    const shipLater = async (order: Order): Promise<void> => {
      await Promise.resolve();
      order.ship();
    };
    await placed.when(shipLater).then([new OrderShipped()]);
    await placed.when(shipLater).thenState({ shipped: true });
    await given(Order).when(shipLater).thenThrows(NotPlacedError);
    await given(Order)
      .when(async () => Promise.resolve())
      .thenNothing();
    const failure = await failureLater(given(Order).when(shipLater).then([]));
    expect(failure.message).to.match(/threw NotPlacedError/);
  });

  it('fails where the chain is awaited without a check', async () => {
    const acted: unknown = placed.when((order) => order.ship());
    const outcome = await Promise.resolve(acted).catch((error: unknown) => error);
    expect(outcome).to.be.instanceOf(TypeError);
  });

  it('returns nothing that a test runner would await', () => {
    const checked = placed.when((order) => order.ship()).then([new OrderShipped()]);
    expect(checked).to.not.have.property('then');
    expect(checked.thenState({ shipped: true })).to.not.have.property('then');
  });
});

describe('given/when/then of a decider', () => {
  it('takes commands', () => {
    given(wallet, [Deposited(5)])
      .when({ type: 'withdraw', amount: 2 })
      .then([Withdrawn(2)])
      .thenState({ balance: 3 })
      .thenState(({ balance }) => balance === 3);
    given(wallet, [Deposited(5)])
      .when({ type: 'withdraw', amount: 9 })
      .thenThrows(/only 5 left/);
    given(wallet).when({ type: 'drain' }).thenNothing();
  });

  it('takes a callback for several', () => {
    given(wallet)
      .when((one) => {
        one.execute({ type: 'deposit', amount: 5 });
        one.execute({ type: 'drain' });
      })
      .then([Deposited(5), Withdrawn(5)]);
  });

  it('fails where the state is another', () => {
    const acted = given(wallet, [Deposited(5)]).when({ type: 'drain' });
    const failure = failureOf(() => acted.thenState({ balance: 5 }));
    expect(failure.message)
      .to.match(/^\+ +balance: 0$/m)
      .and.match(/^- +balance: 5$/m);
  });

  it('is typed by commands, events and state', () => {
    const start = given(wallet, [Deposited(5)]);
    // @ts-expect-error there is no such command
    expect(failureOf(() => start.when({ type: 'steal' }).then([Deposited(1)]))).to.be.instanceOf(
      AssertionError,
    );
    // @ts-expect-error no such event is decided
    expect(failureOf(() => start.when({ type: 'drain' }).then([new OrderShipped()]))).to.be.instanceOf(
      AssertionError,
    );
    // @ts-expect-error no such state
    expect(failureOf(() => start.when({ type: 'drain' }).thenState({ sum: 0 }))).to.be.instanceOf(
      AssertionError,
    );
    // @ts-expect-error no such event is evolved
    expect(failureOf(() => given(wallet, [new OrderShipped()]).when({ type: 'drain' }))).to.be.instanceOf(
      AssertionError,
    );
  });
});

describe('what production would refuse', () => {
  @event('Scheduled')
  class Scheduled {
    constructor(readonly at: Date) {}
  }
  @event('Measured')
  class Measured {
    constructor(readonly value: number) {}
  }
  @event('Hidden')
  class Hidden {
    readonly #secret: number;
    constructor(secret: number) {
      this.#secret = secret;
    }
    get secret(): number {
      return this.#secret;
    }
  }
  @event('Foreign')
  class Foreign {}

  @aggregate('careless', { events: [Scheduled, Measured, Hidden] })
  class Careless extends Aggregate {
    act(one: object): void {
      this.record(one);
    }
    @applies(OrderShipped)
    protected shipped(): void {
      throw new Error('cannot fold this');
    }
  }

  it('fails a recorded event that JSON changes, and says where', () => {
    const recording = (one: object) => (): unknown => given(Careless).when((careless) => careless.act(one));
    const date = failureOf(recording(new Scheduled(new Date(0))));
    expect(date.message).to.match(
      /^Recorded event 1, Scheduled .* does not survive its JSON round trip: at was /,
    );
    expect(failureOf(recording(new Measured(NaN))).message).to.match(/value was NaN and came back as null/);
    const lost = failureOf(recording(new Hidden(5))).message;
    expect(lost).to.match(/secret was 5 and came back as 'throws TypeError/);
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    const cyclic = failureOf(recording(Object.assign(new Measured(1), { cycle })));
    expect(cyclic.message).to.match(/cannot be stored: .*cannot be written as JSON/);
  });

  it('passes an event that JSON keeps, properties that are undefined included', () => {
    given(Careless)
      .when((careless) => careless.act(Object.assign(new Measured(1), { note: undefined })))
      .then([new Measured(1)]);
  });

  it('fails a given event that JSON changes', () => {
    const failure = failureOf(() =>
      given(Careless, [new Measured(1), new Scheduled(new Date(0))]).when(() => {}),
    );
    expect(failure.message).to.match(/^Given event 2, Scheduled .* does not survive/);
  });

  it("fails an event that is none of the aggregate's", () => {
    const givenForeign = failureOf(() => given(Careless, [new Foreign()]).when(() => {}));
    expect(givenForeign.message).to.match(/^Given event 1, Foreign \{\}, cannot be stored: .*"Foreign"/);
    const recorded = failureOf(() => given(Careless).when((careless) => careless.act(new Foreign())));
    expect(recorded.message).to.match(/^Recorded event 1, Foreign \{\}, cannot be stored/);
  });

  it('fails a history that does not fold, with the cause', () => {
    const failure = failureOf(() => given(Careless, [new OrderShipped()]).when(() => {}));
    expect(failure.message).to.match(
      /^Given event 1, OrderShipped \{\}, does not fold: Error: cannot fold this$/,
    );
    expect(failure.cause).to.have.property('message', 'cannot fold this');
  });

  describe('of an aggregate with snapshots', () => {
    abstract class Door extends Aggregate {
      knock(): void {
        this.record(new OrderPlaced(1));
      }
    }

    @aggregate('door', { snapshotEvery: 5 })
    class DatedDoor extends Door {
      at: Date | null = null;
      @applies(OrderPlaced)
      protected knocked(): void {
        this.at = new Date(0);
      }
    }

    @aggregate('door', { snapshotEvery: 5, events: [OrderShipped] })
    class SecretiveDoor extends Door {
      #knocks = 0;
      override knock(): void {
        this.record(this.#knocks > 0 ? new OrderShipped() : new OrderPlaced(1));
      }
      @applies(OrderPlaced)
      protected knocked(): void {
        this.#knocks++;
      }
    }

    @aggregate('door', { snapshotEvery: 5 })
    class CountingDoor extends Door {
      #knocks = 0;
      get knocks(): number {
        return this.#knocks;
      }
      @applies(OrderPlaced)
      protected knocked(): void {
        this.#knocks++;
      }
    }

    @aggregate('door', { snapshotEvery: 5 })
    class GoodDoor extends Door {
      knocks = 0;
      @applies(OrderPlaced)
      protected knocked(): void {
        this.knocks++;
      }
    }

    it('passes where the state is restored', () => {
      given(GoodDoor, [new OrderPlaced(1)])
        .when((door) => door.knock())
        .then([new OrderPlaced(1)])
        .thenState({ knocks: 2 });
    });

    it('fails where a snapshot cannot be taken, before or after', () => {
      for (const history of [[], [new OrderPlaced(1)]]) {
        const failure = failureOf(() => given(DatedDoor, history).when((door) => door.knock()));
        expect(failure.message).to.match(/^The state does not survive a snapshot: .*"at" holds a Date/);
      }
    });

    it('fails where a private field shows through a getter, and is lost', () => {
      const failure = failureOf(() => given(CountingDoor, [new OrderPlaced(1)]).when(() => {}));
      expect(failure.message).to.match(
        /^The state does not survive a snapshot: knocks was 1 and came back as 0/,
      );
    });

    it('fails where only the behaviour shows what a private field has lost', () => {
      const failure = failureOf(() =>
        given(SecretiveDoor, [new OrderPlaced(1)]).when((door) => door.knock()),
      );
      expect(failure.message).to.match(
        /^The aggregate recorded OrderShipped, but restored from a snapshot of the same history it recorded OrderPlaced/,
      );
    });

    it('fails the same way where the callback is asynchronous', async () => {
      const acted = given(SecretiveDoor, [new OrderPlaced(1)]).when(async (door) => {
        await Promise.resolve();
        door.knock();
      });
      expect((await failureLater(acted.then([new OrderShipped()]))).message).to.match(
        /restored from a snapshot/,
      );
    });

    it('takes no notice of private fields where there are no snapshots', () => {
      @aggregate('door', { events: [OrderShipped] })
      class Unsnapped extends SecretiveDoor {}
      given(Unsnapped, [new OrderPlaced(1)])
        .when((door) => door.knock())
        .then([new OrderShipped()]);
    });

    it('fails a decider whose state JSON changes', () => {
      const dated = decider({
        category: 'dated',
        events: [Deposited],
        snapshotEvery: 1,
        initial: (): Date | null => null,
        decide: (_: 'go') => Deposited(1),
        evolve: () => new Date(0),
      });
      expect(failureOf(() => given(dated).when('go')).message).to.match(/"state" holds a Date/);
    });
  });
});
