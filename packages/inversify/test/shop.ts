import {
  Aggregate,
  aggregate,
  applies,
  decider,
  defineEvent,
  documentProjection,
  event,
  type RecordedEvent,
} from '@refold/core';
import { inject, injectable } from 'inversify';

@event('OrderPlaced')
export class OrderPlaced {
  constructor(readonly total: number) {}
}

@event('OrderShipped')
export class OrderShipped {}

@aggregate('order', { events: [OrderShipped] })
export class Order extends Aggregate {
  total = 0;

  place(total: number): void {
    this.record(new OrderPlaced(total));
  }

  ship(): void {
    this.record(new OrderShipped());
  }

  @applies(OrderPlaced)
  protected placed({ total }: OrderPlaced): void {
    this.total = total;
  }
}

export const Counted = defineEvent('Counted', (by: number) => ({ by }));

export const counter = decider({
  category: 'counter',
  events: [Counted],
  initial: () => 0,
  decide: (by: number) => Counted(by),
  evolve: (sum, { data }) => sum + data.by,
});

export const totals = documentProjection('totals', { initial: () => ({ total: 0 }) }).on(
  OrderPlaced,
  (_, { data }) => ({ total: data.total }),
);

/** What is told to customers. */
export abstract class Post {
  abstract send(text: string): void;
}

/** Keeps what is told. */
@injectable()
export class Outbox extends Post {
  readonly sent: string[] = [];

  send(text: string): void {
    this.sent.push(text);
  }
}

/** Tells customers of their orders. */
@injectable()
export class Mailer {
  static made = 0;

  constructor(@inject(Post) private readonly post: Post) {
    Mailer.made += 1;
  }

  handle({ stream, data }: RecordedEvent<OrderPlaced>): void {
    this.post.send(`${stream} placed for ${data.total}`);
  }

  shipped({ stream }: RecordedEvent<OrderShipped>): Promise<void> {
    this.post.send(`${stream} shipped`);
    return Promise.resolve();
  }
}
