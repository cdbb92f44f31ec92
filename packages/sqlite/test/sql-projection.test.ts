import { createApplication, defineEvent, ProcessorStoppedError, silentLogger } from '@refold/core';
import { sqlProjection, type SqliteStore } from '@refold/sqlite';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { failure } from './expectations.js';
import { useFiles } from './files.js';

const Sold = defineEvent('Sold', (city: string, cents: number) => ({ city, cents }));

describe('sqlProjection', () => {
  const files = useFiles();

  /** Sums by city, each in its own way of counting: `factor` stands for what a new version changes. */
  function sales(version: number, factor: number, mode: 'async' | 'inline' = 'async') {
    return sqlProjection('sales', {
      version,
      mode,
      tables: {
        sales_by_city: (table) => [
          `create table ${table} (city text primary key, total integer not null check (total < 1000)) strict`,
          `create index ${table}_total on ${table} (total)`,
        ],
      },
    }).on(Sold, (event, context) => {
      context.unit.run(
        `insert into ${context.table('sales_by_city')} values (?, ?)
         on conflict (city) do update set total = total + excluded.total`,
        event.data.city,
        event.data.cents * factor,
      );
    });
  }

  function application(store: SqliteStore, projection: ReturnType<typeof sales>) {
    return createApplication({ store, events: [Sold], projections: [projection], logger: silentLogger });
  }

  /** What any SQLite tool shows under the table's plain name. */
  function table(file: string): unknown[] {
    const database = files.connect(file, { readonly: true });
    return database.prepare('select city, total from sales_by_city order by city').all();
  }

  for (const mode of ['async', 'inline'] as const) {
    it(`writes a table of its own, in the transaction of its checkpoint (${mode})`, async () => {
      const file = files.fresh();
      const store = await files.open(file);
      const app = application(store, sales(1, 1, mode));
      await app.append('shop-1', [Sold('Bonn', 5), Sold('Ulm', 7)]);
      await app.append('shop-2', [Sold('Bonn', 10)]);
      await app.catchUp();
      assert.deepEqual(table(file), [
        { city: 'Bonn', total: 15 },
        { city: 'Ulm', total: 7 },
      ]);
    });
  }

  it('is built anew beside the old table, and swapped in under the same name', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const before = application(store, sales(1, 1));
    await before.append('shop-1', [Sold('Bonn', 5), Sold('Ulm', 7)]);
    await before.catchUp();
    const after = application(store, sales(2, 10));
    await after.catchUp();
    assert.deepEqual(table(file), [
      { city: 'Bonn', total: 50 },
      { city: 'Ulm', total: 70 },
    ]);
  });

  it('stops at what SQLite refuses, and keeps nothing of the event that it was', async () => {
    const file = files.fresh();
    const store = await files.open(file);
    const app = application(store, sales(1, 1));
    await app.append('shop-1', [Sold('Bonn', 5), Sold('Bonn', 999), Sold('Ulm', 1)]);
    const error = await failure(ProcessorStoppedError, 'PROCESSOR_STOPPED', () => app.catchUp());
    assert.equal(error.event?.position, 2);
    assert.propertyVal(error.cause, 'code', 'SQLITE_CONSTRAINT_CHECK');
    assert.deepEqual(table(file), [{ city: 'Bonn', total: 5 }]);
  });
});
