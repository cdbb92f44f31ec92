import { AssertionError } from 'node:assert';
import { Aggregate, aggregate, applies, defineEvent, event, processManager } from '@refold/core';
import { react, type ReactOptions } from '@refold/testing';
import { expect } from 'chai';

@event('OrderPlaced')
class OrderPlaced {
  constructor(readonly total: number) {}
}

@event('OrderCancelled')
class OrderCancelled {}

@event('PaymentAsked')
class PaymentAsked {
  constructor(readonly amount: number) {}
}

@event('PaymentTimedOut')
class PaymentTimedOut {}

@event('PaymentReceived')
class PaymentReceived {
  constructor(readonly order: string) {}
}

const Noted = defineEvent('Noted', (text: string) => ({ text }));

@aggregate('order')
class Order extends Aggregate {
  placed = false;

  cancel(): void {
    if (!this.placed) throw new RangeError('not placed');
    this.record(new OrderCancelled());
  }

  @applies(OrderPlaced)
  protected onPlaced(): void {
    this.placed = true;
  }

  @applies(OrderCancelled)
  protected onCancelled(): void {
    this.placed = false;
  }
}

const payments = processManager('payments', {
  initial: () => ({ asked: 0 }),
  events: [PaymentAsked],
  evolve: ({ asked }, { amount }) => ({ asked: asked + amount }),
})
  .on(OrderPlaced, ({ data }, process) => {
    if (data.total === 0) return;
    process.record(new PaymentAsked(data.total));
    process.append('audit-all', [Noted('asked')]);
    process.schedule('timeout', { afterMs: 60_000 }, new PaymentTimedOut());
  })
  .on(PaymentReceived, (_, process) => process.cancel('timeout'), { key: ({ data }) => data.order })
  .on(PaymentTimedOut, async (_, process) => {
    await process.update(Order, process.key, (order) => order.cancel());
  });

const options: ReactOptions = { aggregates: [Order], events: [Noted] };
const placed = { stream: 'order-1', event: new OrderPlaced(5) };
const asked = { stream: 'payments-1', event: new PaymentAsked(5) };
const timedOut = { stream: 'payments-1', event: new PaymentTimedOut() };
const timeout = { name: 'timeout', afterMs: 60_000, event: new PaymentTimedOut() };

async function failureOf(check: Promise<unknown>): Promise<AssertionError> {
  const outcome = await check.then(
    () => new Error('Expected the check to fail'),
    (error: unknown) => error,
  );
  if (outcome instanceof AssertionError) return outcome;
  throw outcome;
}

describe('react', () => {
  it('passes where events, timers and state are the expected ones', async () => {
    const reaction = react(payments, [], options).when(placed);
    await reaction.thenAppends([asked, { stream: 'audit-all', event: Noted('asked') }]);
    await reaction.thenTimers([timeout]);
    await reaction.thenState({ asked: 5 });
    await reaction.thenState((state) => state.asked === 5);
  });

  it('makes the state of the events that are given, and the aggregates that are commanded', async () => {
    const reaction = react(payments, [placed, asked, asked], options).when(timedOut);
    await reaction.thenState({ asked: 10 });
    await reaction.thenAppends([{ stream: 'order-1', event: new OrderCancelled() }]);
    await reaction.thenTimers([]);
  });

  it('takes timers that are set already', async () => {
    const at = new Date(Date.UTC(2030, 0, 1));
    const timers = [
      { name: 'timeout', at, event: new PaymentTimedOut() },
      { name: 'other', at, event: new PaymentTimedOut() },
      { key: '2', name: 'timeout', at, event: new PaymentTimedOut() },
    ];
    const reaction = react(payments, [], { ...options, timers }).when({
      stream: 'bank-7',
      event: new PaymentReceived('1'),
    });
    await reaction.thenTimers(timers.slice(1));
    expect((await failureOf(reaction.thenNothing())).message).to.match(/no timer to be set or cancelled/);
    await react(payments, [], { ...options, timers })
      .when({ stream: 'order-1', event: new OrderPlaced(0) })
      .thenNothing();
  });

  it('counts timers from the recording of the event', async () => {
    const recordedAt = new Date(Date.UTC(2024, 0, 1));
    const reaction = react(payments, [], options).when({ ...placed, recordedAt });
    await reaction.thenTimers([
      { name: 'timeout', at: new Date(recordedAt.getTime() + 60_000), event: new PaymentTimedOut() },
    ]);
  });

  it('fails with a difference where something is not as expected', async () => {
    const reaction = react(payments, [], options).when(placed);
    const [appends, timers, state, verdict, nothing] = [
      await failureOf(reaction.thenAppends([asked])),
      await failureOf(reaction.thenTimers([{ ...timeout, afterMs: 50_000 }])),
      await failureOf(reaction.thenState({ asked: 6 })),
      await failureOf(reaction.thenState(({ asked: sum }) => sum === 6)),
      await failureOf(reaction.thenNothing()),
    ];
    expect(appends.message).to.match(/^The appended events are not the expected ones:\n/);
    expect(timers.message).to.match(/^The timers are not the expected ones:\n/);
    expect(state.message).to.match(/^The state is not the expected one:\n/);
    expect(verdict.message).to.match(/returned false; it is { asked: 5 }/);
    expect(nothing.message).to.match(/^Expected nothing to be appended/);
  });

  it('tells what a handler threw, at once', async () => {
    const reaction = react(payments, [asked], options).when(timedOut);
    expect((await failureOf(reaction.thenAppends([]))).message).to.match(
      /^The handler of PaymentTimedOut {} threw AggregateNotFoundError: /,
    );
    const cancelled = [placed, { stream: 'order-1', event: new OrderCancelled() }];
    const refused = react(payments, cancelled, options).when(timedOut);
    expect(await refused.thenThrows(RangeError)).to.have.property('message', 'not placed');
    await refused.thenThrows(/not placed/);
    expect((await failureOf(refused.thenThrows(TypeError))).message).to.match(/but it was RangeError/);
    const fine = react(payments, [], options).when(placed);
    expect((await failureOf(fine.thenThrows(RangeError))).message).to.match(/but nothing was$/);
  });

  it('fails a given event that JSON changes', async () => {
    const reaction = react(payments, [{ ...asked, event: new PaymentAsked(NaN) }], options).when(placed);
    expect((await failureOf(reaction.thenNothing())).message).to.match(/^Given event 1, .* does not survive/);
  });
});
