import { postgresStore } from '@refold/postgres';
import { happened } from './fixture.js';

// One of several processes that start at the same time: opens a store, which sets the schema up, and appends.
const [address = '', schema] = process.argv.slice(2);
const store = await postgresStore(address, { schema });
await store.append('order-1', [happened()]);
await store.close();
