import type { OrderDetails } from '../orders/order.js';

/** What the shop sells: too little of everything. */
export const CATALOGUE = [
  { item: 'kettle', cents: 4_500, perOrders: 0.34 },
  { item: 'teapot', cents: 3_200, perOrders: 0.36 },
  { item: 'cup', cents: 900, perOrders: 0.5 },
  { item: 'tray', cents: 2_100, perOrders: 0.3 },
  { item: 'tea', cents: 700, perOrders: 0.5 },
] as const;

/** Orders of a seed: some with bad cards, some to places that nobody delivers to. */
export function ordersOf(
  count: number,
  seed: number,
): { readonly id: string; readonly details: OrderDetails }[] {
  const random = randomNumbers(seed);
  return Array.from({ length: count }, (_, index) => {
    const { item, cents } = CATALOGUE[Math.floor(random() * CATALOGUE.length)] ?? CATALOGUE[0];
    const quantity = 1 + Math.floor(random() * 3);
    return {
      id: String(index + 1),
      details: {
        customer: `customer-${index + 1}@example.org`,
        card: random() < 0.12 ? '4000-0002' : '5555-4444',
        address: random() < 0.08 ? '1 Pillar Lane, Atlantis' : `${1 + Math.floor(random() * 99)} High Street`,
        item,
        quantity,
        cents: cents * quantity,
      },
    };
  });
}

/** Numbers from 0 to 1, the same for the same seed. Source: mulberry32, Tommy Ettinger, public domain. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
