import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryStore, type Store } from '@refold/core';
import { postgresStore } from '@refold/postgres';
import { sqliteStore } from '@refold/sqlite';
import postgres from 'postgres';
import { testDatabase } from '../postgres/server.js';

/** Where one test keeps its events. */
export interface Place {
  /** A store on it: another instance each time, as another process has one. */
  open(): Promise<Store>;
  /** Closes what was opened, and removes it. */
  end(): Promise<void>;
}

/** The stores that the probes run on. */
export const storeKinds: { readonly name: string; readonly place: () => Promise<Place> }[] = [
  { name: 'memory', place: memoryPlace },
  { name: 'SQLite', place: sqlitePlace },
  { name: 'PostgreSQL', place: postgresPlace },
];

/** What is in memory has one instance. */
async function memoryPlace(): Promise<Place> {
  const store = memoryStore();
  return { open: () => Promise.resolve(store), end: () => store.close() };
}

async function sqlitePlace(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'refold-probe-'));
  return placeOf(
    () => sqliteStore(join(folder, 'probe.db'), { durability: 'normal' }),
    () => rm(folder, { recursive: true }),
  );
}

/** A schema of its own, under a name that must be quoted. */
export async function postgresPlace(): Promise<
  Place & { readonly schema: string; readonly address: string }
> {
  const schema = `A "probe" ${randomUUID().slice(0, 8)}`;
  const address = await testDatabase();
  const place = placeOf(
    () => postgresStore(address, { schema }),
    async () => {
      const sql = postgres(address, { max: 1, onnotice: () => {} });
      await sql.unsafe(`drop schema "${schema.replaceAll('"', '""')}" cascade`);
      await sql.end();
    },
  );
  return { ...place, schema, address };
}

function placeOf(open: () => Promise<Store>, remove: () => Promise<void>): Place {
  const opened: Store[] = [];
  return {
    async open() {
      const store = await open();
      opened.push(store);
      return store;
    },
    async end() {
      for (const store of opened) await store.close();
      await remove();
    },
  };
}
