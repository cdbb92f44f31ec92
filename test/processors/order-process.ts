import {
  aggregate,
  Aggregate,
  applies,
  defineEvent,
  event,
  processManager,
  type Clock,
  type Process,
  type ProcessManagerOptions,
} from '@refold/core';

@event('OrderPlaced')
export class OrderPlaced {
  constructor(readonly total: number) {}
}

@event('OrderConfirmed')
export class OrderConfirmed {}

@event('OrderCancelled')
export class OrderCancelled {
  constructor(readonly reason: string) {}
}

@event('OrderNoted')
export class OrderNoted {
  constructor(readonly text: string) {}
}

@aggregate('order')
export class Order extends Aggregate {
  status: 'new' | 'placed' | 'confirmed' | 'cancelled' = 'new';
  notes = 0;

  place(total: number): void {
    this.record(new OrderPlaced(total));
  }

  confirm(): void {
    if (this.status !== 'placed') throw new Error(`${this.id} is ${this.status}`);
    this.record(new OrderConfirmed());
  }

  cancel(reason: string): void {
    this.record(new OrderCancelled(reason));
  }

  note(text: string): void {
    this.record(new OrderNoted(text));
  }

  @applies(OrderPlaced)
  protected placed(): void {
    this.status = 'placed';
  }

  @applies(OrderConfirmed)
  protected confirmed(): void {
    this.status = 'confirmed';
  }

  @applies(OrderCancelled)
  protected cancelled(): void {
    this.status = 'cancelled';
  }

  @applies(OrderNoted)
  protected noted(): void {
    this.notes += 1;
  }
}

@event('PaymentReceived')
export class PaymentReceived {
  constructor(
    readonly order: string,
    readonly amount: number,
  ) {}
}

@event('PaymentAsked')
export class PaymentAsked {
  constructor(readonly amount: number) {}
}

export const Paid = defineEvent('Paid', (amount: number) => ({ amount }));

@event('PaymentTimedOut')
export class PaymentTimedOut {}

export interface Payment {
  asked: number;
  paid: number;
}

export const TIMEOUT_MS = 15 * 60_000;

/** Asks for the payment of an order, confirms the order when it is paid, and cancels it when it is not, in time. */
export function payments({
  name = 'payments',
  timeoutMs = TIMEOUT_MS,
  placed = () => undefined,
  received = () => undefined,
  ...options
}: ProcessManagerOptions & {
  name?: string;
  timeoutMs?: number;
  /** Called at the end of the handler of OrderPlaced. */
  placed?: (process: Process<Payment, object>) => unknown;
  /** The same of PaymentReceived. */
  received?: (process: Process<Payment, object>) => unknown;
} = {}) {
  return processManager(name, {
    ...options,
    initial: (): Payment => ({ asked: 0, paid: 0 }),
    events: [PaymentAsked, Paid],
    evolve: (state, one) =>
      one instanceof PaymentAsked
        ? { ...state, asked: state.asked + one.amount }
        : { ...state, paid: state.paid + one.data.amount },
  })
    .on(OrderPlaced, async ({ data: { total } }, process) => {
      process.record(new PaymentAsked(total));
      process.schedule('timeout', { afterMs: timeoutMs }, new PaymentTimedOut());
      await placed(process);
    })
    .on(
      PaymentReceived,
      async ({ data: { amount } }, process) => {
        process.record(Paid(amount));
        if (process.state.paid < process.state.asked) return;
        process.cancel('timeout');
        await process.update(Order, process.key, (order) => order.confirm());
        await received(process);
      },
      { key: ({ data: { order } }) => order },
    )
    .on(PaymentTimedOut, async (_, process) => {
      if (process.state.paid >= process.state.asked) return;
      await process.update(Order, process.key, (order) => order.cancel('not paid in time'));
    });
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #now: number;
  readonly #sleeping = new Set<() => void>();

  constructor(now = Date.UTC(2030, 0, 1)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const look of this.#sleeping) look();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const until = this.#now + ms;
    // Even a sleep of nothing takes a turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#now >= until || signal?.aborted) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        this.#sleeping.delete(look);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const look = (): void => {
        if (this.#now >= until) end();
      };
      this.#sleeping.add(look);
      signal?.addEventListener('abort', end, { once: true });
    });
  }
}
