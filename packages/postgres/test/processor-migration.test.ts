import { migrationSql, postgresStore } from '@refold/postgres';
import { assert } from 'chai';
import { randomUUID } from 'node:crypto';
import { after, describe, it } from 'mocha';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from './server.js';

after(stopTestDatabase);

describe('a schema from before processors had many partitions', () => {
  it('keeps checkpoints and leases, and gives none on what is retired', async () => {
    const schema = `old ${randomUUID()}`;
    const sql = postgres(await testDatabase(), { max: 1, onnotice: () => {} });
    const [before = ''] = migrationSql({ schema }).split(/-- \d+-processors\.sql/);
    await sql.unsafe(`${before}
      insert into "${schema}".generations (processor, generation, version, status, collections, started_after)
        values ('p', 1, 1, 'retired', '{}', 0), ('p', 2, 2, 'live', '{}', 0);
      insert into "${schema}".partitions (processor, generation, first_slice, last_slice, position, token, holder)
        values ('p', 1, 0, 1023, 5, 2, null), ('p', 2, 0, 1023, 7, 3, 'one');
      commit;`);
    const store = await postgresStore(await testDatabase(), { schema });
    const [, live] = await store.generations('p');
    assert.deepInclude(live, { generation: 2, shadow: false, replayed: [] });
    const [, partition] = await store.partitions('p');
    assert.deepInclude(partition, { position: 7, token: 3, holder: 'one', ahead: [], crashes: 0 });
    const key = { processor: 'p', firstSlice: 0 };
    const holder = { holder: 'one', ttlMs: 1000 };
    assert.isUndefined(await store.acquireLease({ ...key, generation: 1 }, holder));
    assert.deepInclude(await store.acquireLease({ ...key, generation: 2 }, holder), {
      position: 7,
      token: 4,
    });
    await store.close();
    await sql.unsafe(`drop schema "${schema}" cascade`);
    await sql.end();
  });
});
