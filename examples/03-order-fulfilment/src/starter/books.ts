/** How an order ended. */
export interface OrderLine {
  readonly status: 'open' | 'shipped' | 'cancelled';
  readonly cents: number;
  readonly item: string;
  readonly quantity: number;
  readonly reason: string;
}

/** What became of an item. */
export interface StockLine {
  readonly item: string;
  readonly initial: number;
  readonly left: number;
  readonly reserved: number;
  readonly shipped: number;
}

/** The read models of all services. */
export interface Books {
  readonly orders: readonly OrderLine[];
  readonly payments: { readonly taken: number; readonly refunded: number };
  readonly inventory: readonly StockLine[];
  readonly shipping: { readonly shipped: number; readonly refused: number };
  readonly notifications: {
    /** Customers who were told once, and more often. */
    readonly once: number;
    readonly oftener: number;
    /** Mails that the mail server took. */
    readonly mailed: number;
    readonly busy: number;
  };
  /** Messages that some service could not get rid of. */
  readonly deadLetters: number;
}

/** Whether every order has ended, and everybody knows. */
export function areSettled({ orders, inventory, notifications }: Books, placed: number): boolean {
  return (
    orders.length === placed &&
    orders.every(({ status }) => status !== 'open') &&
    inventory.every(({ reserved }) => reserved === 0) &&
    notifications.mailed === placed
  );
}

/** What does not balance, in words. */
export function differences(books: Books, placed: number): string[] {
  const { orders, payments, inventory, shipping, notifications } = books;
  const shipped = orders.filter(({ status }) => status === 'shipped');
  const cancelled = orders.filter(({ status }) => status === 'cancelled');
  const found: string[] = [];
  const compare = (what: string, actual: number, expected: number): void => {
    if (actual !== expected) found.push(`${what}: ${actual}, expected ${expected}`);
  };
  compare('orders that ended', shipped.length + cancelled.length, placed);
  compare('cents taken and not refunded', payments.taken - payments.refunded, sum(shipped, 'cents'));
  compare('parcels on their way', shipping.shipped, shipped.length);
  for (const { item, initial, left, reserved, shipped: gone } of inventory) {
    const ordered = shipped.filter((order) => order.item === item);
    compare(`${item} reserved, shipped and left`, reserved + gone + left, initial);
    compare(`${item} reserved`, reserved, 0);
    compare(`${item} shipped`, gone, sum(ordered, 'quantity'));
  }
  compare('customers who were told once', notifications.once, placed);
  compare('customers who were told more often', notifications.oftener, 0);
  compare('dead letters', books.deadLetters, 0);
  compare('mails', notifications.mailed, placed);
  return found;
}

function sum(lines: readonly OrderLine[], field: 'cents' | 'quantity'): number {
  return lines.reduce((total, line) => total + line[field], 0);
}
