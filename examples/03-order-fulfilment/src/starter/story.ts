import { setTimeout as pause } from 'node:timers/promises';
import { areSettled, differences, type Books, type OrderLine } from './books.js';
import { CATALOGUE, ordersOf } from './customers.js';
import type { Shop } from './shop.js';

/** How the story goes. */
export interface StoryOptions {
  readonly orders: number;
  readonly seed: number;
  /** Whether a broker keeps messages for a service that is down. */
  readonly hasBroker: boolean;
  readonly print: (line: string) => void;
}

/** How long any part of it may take. */
const PATIENCE_MS = 60_000;

/** Places orders, takes the shipper down and up again, and looks whether the books balance. */
export async function tellStory(shop: Shop, options: StoryOptions): Promise<boolean> {
  const { print } = options;
  const orders = ordersOf(options.orders, options.seed);
  const early = orders.slice(0, Math.ceil(orders.length / 2));
  const inventory = shop.service('inventory');
  for (const { item, perOrders } of CATALOGUE) {
    await inventory.ask('deliver', { item, quantity: Math.ceil(orders.length * perOrders) });
  }
  const place = (some: typeof orders): Promise<unknown> =>
    Promise.all(some.map((order) => shop.service('orders').ask('place', order)));

  print(`${early.length} customers order.`);
  await place(early);
  const some = Math.ceil(early.length / 10);
  await until(`${some} parcels are shipped`, async () => (await shop.books()).shipping.shipped >= some);

  await shop.service('shipping').kill();
  print(`The shipper crashes. ${orders.length - early.length} more customers order.`);
  await place(orders.slice(early.length));
  await sayWhatWaits(shop, options, Math.ceil(orders.length / 20));

  await shop.start('shipping');
  const retried = await shop.service('orders').ask<number>('retryDeadLetters');
  print(`The shipper is back.${retried > 0 ? ` ${retried} dead letters are tried again.` : ''}`);
  await until('every order has ended', () => settled(shop, orders.length));

  await shop.service('orders').ask('payAgain');
  print('Every command to payments is sent once more. Nobody pays twice.');

  const books = await shop.books();
  report(books, print);
  const found = differences(books, orders.length);
  for (const difference of found) print(`WRONG  ${difference}`);
  print(found.length === 0 ? 'The books balance.' : `The books do not balance: ${found.length} differences.`);
  return found.length === 0;
}

async function sayWhatWaits(shop: Shop, { hasBroker, print }: StoryOptions, some: number): Promise<void> {
  if (hasBroker) return print('What is to be shipped waits at the broker.');
  const orders = shop.service('orders');
  await until(`${some} dead letters`, async () => (await orders.ask<number>('deadLetters')) >= some);
  print(`Nobody takes parcels: what was to be shipped becomes dead letters, ${some} so far.`);
}

/** Letters that were parked while the shipper came back are tried again too. */
async function settled(shop: Shop, placed: number): Promise<boolean> {
  const orders = shop.service('orders');
  if ((await orders.ask<number>('deadLetters')) > 0) await orders.ask('retryDeadLetters');
  return areSettled(await shop.books(), placed);
}

function report({ orders, payments, inventory, notifications }: Books, print: (line: string) => void): void {
  const shipped = orders.filter(({ status }) => status === 'shipped');
  print('');
  print(`${shipped.length} orders shipped, ${orders.length - shipped.length} cancelled:`);
  for (const [reason, count] of reasonsOf(orders)) print(`  ${count} because ${reason}`);
  print(`Money:  ${euro(payments.taken)} taken, ${euro(payments.refunded)} refunded`);
  const stock = inventory.map(
    ({ item, initial, left, shipped: gone }) => `${item} ${initial} = ${gone} + ${left}`,
  );
  print(`Stock:  ${stock.join(', ')} (delivered = shipped + left)`);
  print(`Mails:  ${notifications.mailed}; the mail server was busy ${notifications.busy} times`);
}

function reasonsOf(orders: readonly OrderLine[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { status, reason } of orders) {
    if (status === 'cancelled') counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return [...counts].sort(([, one], [, other]) => other - one);
}

function euro(cents: number): string {
  return `${(cents / 100).toFixed(2)} €`;
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`Waited ${PATIENCE_MS / 1000} s until ${what}`);
    await pause(50);
  }
}
