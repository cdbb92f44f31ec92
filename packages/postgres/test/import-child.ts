import { postgresStore } from '@refold/postgres';
import { importItems } from './import-items.js';

/** Imports a number of items in small chunks, and tells its parent of every chunk that is committed. */
const [url, schema, count] = process.argv.slice(2) as [string, string, string];

const store = await postgresStore(url, { schema });
await store.import('legacy', importItems(Number(count)), {
  batchSize: 50,
  onProgress: ({ imported }) => void process.send?.(imported),
});
await store.close();
if (process.connected) process.disconnect();
