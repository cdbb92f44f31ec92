import {
  createApplication,
  defineEvent,
  documentProjection,
  ImportItemError,
  ProcessorStoppedError,
  silentLogger,
  UnknownEventTypeError,
  withMetadata,
  type EventToImport,
  type Store,
} from '@refold/core';
import { assert } from 'chai';
import { describe } from 'mocha';
import { failure, logOf } from './expectations.js';
import { itNeeds, useStores, type Capability, type StoreHarness } from './harness.js';

const Paid = defineEvent('Paid', (amount: number) => ({ amount }));
const Unknown = defineEvent('Unknown', () => ({}));

const totals = (limit = Infinity) =>
  documentProjection('totals', { mode: 'inline', initial: () => ({ total: 0 }) }).on(
    Paid,
    ({ total }, { data }) => {
      if (data.amount > limit) throw new Error('too much');
      return { total: total + data.amount };
    },
    { key: () => 'all' },
  );

const payments = (count: number): EventToImport[] =>
  Array.from({ length: count }, (_, index) => ({ stream: `purse-${index % 3}`, event: Paid(index) }));

/** Imports of typed events. */
export function describeApplicationImports(harness: StoreHarness<Store>): void {
  const itCan = (title: string, body: () => Promise<void>, also: readonly Capability[] = []): void =>
    itNeeds(harness, ['imports', ...also], title, body);

  describe('an import by an application', () => {
    const stores = useStores(harness);

    itCan('encodes events with their metadata, and goes on behind what is in', async () => {
      const store = await stores.open();
      const app = createApplication({ store, events: [Paid] });
      const all = payments(10).map((item, index) =>
        index === 3 ? { ...item, metadata: { tenant: 'b', row: 3 } } : item,
      );
      await withMetadata({ tenant: 'a' }, () => app.import('legacy', () => all.slice(0, 6)));
      await app.import('legacy', (after) => all.slice(after));
      const events = await app.events({ types: [Paid] }).toArray();
      assert.deepEqual(
        events.map(({ data, metadata }) => [data.amount, metadata.tenant]),
        all.map((_, index) => [index, index > 5 ? undefined : index === 3 ? 'b' : 'a']),
      );
    });

    itCan('names the item that the application does not know', async () => {
      const store = await stores.open();
      const app = createApplication({ store, events: [Paid] });
      const all = [...payments(4), { stream: 'purse-9', event: Unknown() }];
      const error = await failure(ImportItemError, 'IMPORT_ITEM', () => app.import('legacy', () => all));
      assert.include(error, { item: 5, stream: 'purse-9' });
      assert.instanceOf(error.cause, UnknownEventTypeError);
      assert.lengthOf(await logOf(store), 4);
    });

    itCan(
      'has inline projections up to date after every chunk',
      async () => {
        const store = await stores.open();
        const projection = totals();
        const app = createApplication({ store, projections: [projection] });
        const seen: unknown[] = [];
        await app.import('legacy', (after) => payments(25).slice(after), {
          batchSize: 10,
          onProgress: async () => void seen.push(await app.readModel(projection).get('all')),
        });
        assert.deepEqual(seen, [{ total: 45 }, { total: 190 }, { total: 300 }]);
        await app.append('purse-1', [Paid(1)]);
        assert.deepEqual(await app.readModel(projection).get('all'), { total: 301 });
      },
      ['inline'],
    );

    itCan(
      'ends when an inline projection fails',
      async () => {
        const store = await stores.open();
        const app = createApplication({ store, projections: [totals(12)], logger: silentLogger });
        const error = await failure(ProcessorStoppedError, 'PROCESSOR_STOPPED', () =>
          app.import('legacy', (after) => payments(90).slice(after), { batchSize: 10 }),
        );
        assert.equal(error.processor, 'totals');
        assert.lengthOf(await logOf(store), 20);
      },
      ['inline'],
    );
  });
}
