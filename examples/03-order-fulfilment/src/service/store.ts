import type { StateUnit, Store } from '@refold/core';
import type { StoreConfig } from './config.js';

/** Opens the store of a service. Its package is loaded only where it is asked for. */
export async function openStore(config: StoreConfig): Promise<Store<StateUnit>> {
  if (config.kind === 'sqlite') {
    const { sqliteStore } = await import('@refold/sqlite');
    return sqliteStore(config.file);
  }
  const { postgresStore } = await import('@refold/postgres');
  return postgresStore(config.url, { schema: config.schema });
}
