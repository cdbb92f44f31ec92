import { assert } from 'chai';
import { describe, it } from 'mocha';
import type { SqliteStoreOptions } from '@refold/sqlite';
import { useFiles } from './files.js';

/** The pragmas as the connection that writes has them: a transaction's statements run on it. */
describe('durability', () => {
  const files = useFiles();

  async function pragmas(options: SqliteStoreOptions, ...names: string[]): Promise<unknown[]> {
    const store = await files.open(undefined, options);
    return store.transaction(async (unit) =>
      names.map((name) => Object.values(unit.get(`pragma ${name}`) ?? {})[0]),
    );
  }

  it("syncs every commit by default and with 'full'", async () => {
    const all = ['journal_mode', 'synchronous', 'fullfsync', 'foreign_keys'];
    assert.deepEqual(await pragmas({}, ...all), ['wal', 2, 1, 1]);
    assert.deepEqual(await pragmas({ durability: 'full' }, ...all), ['wal', 2, 1, 1]);
  });

  it("syncs at checkpoints with 'normal'", async () => {
    const all = ['journal_mode', 'synchronous', 'fullfsync', 'foreign_keys'];
    assert.deepEqual(await pragmas({ durability: 'normal' }, ...all), ['wal', 1, 0, 1]);
  });

  it('never waits inside SQLite, where waiting would stop the event loop', async () => {
    assert.deepEqual(await pragmas({}, 'busy_timeout'), [0]);
  });
});
