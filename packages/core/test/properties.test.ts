import {
  aggregate,
  Aggregate,
  applies,
  createApplication,
  defineEvent,
  event,
  EventCodec,
  memoryStore,
  revisionOf,
  type Upcaster,
} from '@refold/core';
import { expect } from 'chai';
import fc from 'fast-check';
import { hastyClock, keptWarnings, stored } from './stores.js';

@event('ItemPut')
class ItemPut {
  constructor(
    readonly key: string,
    readonly count: number,
  ) {}
}

@event('ItemTaken')
class ItemTaken {
  constructor(readonly key: string) {}
}

@event('Cleared')
class Cleared {}

type StockEvent = ItemPut | ItemTaken | Cleared;
type Items = Record<string, number>;

/** The fold by hand: what the repository must come to. */
function plainFold(items: Items, one: StockEvent): Items {
  if (one instanceof Cleared) return {};
  const count = items[one.key] ?? 0;
  return { ...items, [one.key]: one instanceof ItemPut ? count + one.count : count - 1 };
}

function stockClass(snapshotEvery: number | undefined): new (id: string) => Stock {
  @aggregate('stock', { snapshotEvery })
  class SomeStock extends Stock {}
  return SomeStock;
}

abstract class Stock extends Aggregate {
  items: Items = {};

  act(one: StockEvent): void {
    this.record(one);
  }

  @applies(ItemPut, ItemTaken, Cleared)
  protected changed(one: StockEvent): void {
    this.items = plainFold(this.items, one);
  }
}

const key = fc.constantFrom('a', 'b', 'c');
const stockEvent: fc.Arbitrary<StockEvent> = fc.oneof(
  fc.record({ key, count: fc.integer({ min: -5, max: 9 }) }).map(({ key, count }) => new ItemPut(key, count)),
  key.map((one) => new ItemTaken(one)),
  fc.constant(new Cleared()),
);

/** One save: by which of two repositories, of which events. */
const save = fc.record({ by: fc.nat(1), events: fc.array(stockEvent, { maxLength: 5 }) });

const jsonValue = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);

describe('properties', () => {
  it('a repository folds what was appended, at any revision, with any snapshots and any cache', async () => {
    const policy = fc.option(fc.integer({ min: 1, max: 7 }), { nil: undefined });
    const scenario = fc.record({
      saves: fc.array(save, { minLength: 1, maxLength: 12 }),
      policies: fc.tuple(policy, policy),
      cacheSizes: fc.tuple(fc.nat(1), fc.nat(1)),
    });
    const law = fc.asyncProperty(scenario, async ({ saves, policies, cacheSizes }) => {
      const store = memoryStore();
      const { logger, warnings } = keptWarnings();
      const repositories = policies.map((snapshotEvery, index) => {
        const stock = stockClass(snapshotEvery);
        const application = createApplication({ store, aggregates: [stock], clock: hastyClock, logger });
        return application.repository(stock, { cacheSize: cacheSizes[index] });
      });
      const all: StockEvent[] = [];
      for (const { by, events } of saves) {
        await repositories[by]?.upsert('1', (stock) => {
          expect(stock.items).to.deep.equal(all.reduce(plainFold, {}));
          events.forEach((one) => stock.act(one));
        });
        all.push(...events);
      }
      for (const repository of repositories) {
        const latest = await repository.find('1');
        expect(latest ? revisionOf(latest) : -1).to.equal(all.length - 1);
        for (let revision = 0; revision < all.length; revision++) {
          const { items } = await repository.load('1', { revision });
          expect(items).to.deep.equal(all.slice(0, revision + 1).reduce(plainFold, {}));
        }
      }
      expect(warnings).to.deep.equal([]);
    });
    await fc.assert(law, { numRuns: 150 });
  });

  it('JSON data of a plain event comes back from its round trip', () => {
    const Anything = defineEvent('Anything', (data: unknown) => data);
    const codec = new EventCodec([Anything]);
    const law = fc.property(jsonValue, (data) => {
      const written = codec.encode(Anything(data));
      const read = JSON.parse(JSON.stringify(written.data)) as unknown;
      expect(codec.decode(stored(written.type, read)).data).to.deep.equal(data);
    });
    fc.assert(law);
  });

  it('JSON properties of a class come back from their round trip, in an instance', () => {
    @event('Something')
    class Something {
      constructor(
        readonly first: unknown,
        readonly second: unknown,
      ) {}
    }
    const codec = new EventCodec([Something]);
    const law = fc.property(jsonValue, jsonValue, (first, second) => {
      const made = new Something(first, second);
      const { data } = codec.decode(stored('Something', JSON.parse(JSON.stringify(codec.encode(made).data))));
      expect(data).to.be.instanceOf(Something).and.deep.equal(made);
    });
    fc.assert(law);
  });

  it('upcasting from any version is the composition of the steps from there', () => {
    // Steps that do not commute, so that their order shows.
    const step = fc.tuple(fc.constantFrom('add', 'times'), fc.integer({ min: -3, max: 3 }));
    const law = fc.property(
      fc.array(step, { minLength: 1, maxLength: 6 }),
      fc.integer(),
      fc.nat(),
      (steps, value, from) => {
        const functions = steps.map(
          ([kind, by]) =>
            (n: number) =>
              kind === 'add' ? n + by : n * by,
        );
        const upcasters: Record<number, Upcaster> = {};
        functions.forEach((one, index) => (upcasters[index + 1] = one));
        const Numbered = defineEvent('Numbered', (n: number) => n, { version: steps.length + 1, upcasters });
        const version = (from % (steps.length + 1)) + 1;
        const expected = functions.slice(version - 1).reduce((n, one) => one(n), value);
        expect(new EventCodec([Numbered]).decode(stored('Numbered', value, version)).data).to.equal(expected);
      },
    );
    fc.assert(law);
  });
});
