import { randomUUID } from 'node:crypto';
import type { NewEvent } from '@refold/core';
import { postgresStore, type PostgresStore, type PostgresStoreOptions } from '@refold/postgres';
import postgres from 'postgres';
import { CuttingProxy } from './cutting-proxy.js';
import { testDatabase } from './server.js';

/** A schema of its own for each test, under a name that must be quoted, and what is to be closed after it. */
export class Fixture {
  readonly schema: string;
  /** The schema's name in quotes. */
  readonly quoted: string;
  readonly address: string;
  /** Beside the stores, as the database's owner. */
  readonly sql: postgres.Sql;
  readonly #closing: (() => Promise<unknown>)[] = [];

  private constructor(address: string) {
    this.schema = `It's a "schema" ${randomUUID().slice(0, 8)}`;
    this.quoted = `"${this.schema.replaceAll('"', '""')}"`;
    this.address = address;
    this.sql = postgres(address, { max: 4, onnotice: () => {} });
  }

  static async create(): Promise<Fixture> {
    return new Fixture(await testDatabase());
  }

  /** A store that is closed at the end. */
  async open(
    options: PostgresStoreOptions = {},
    database: Parameters<typeof postgresStore>[0] = this.address,
  ): Promise<PostgresStore> {
    const store = await postgresStore(database, { schema: this.schema, ...options });
    this.defer(() => store.close());
    return store;
  }

  /** A proxy before the server. */
  async proxy(): Promise<CuttingProxy> {
    const proxy = await CuttingProxy.before(this.address);
    this.defer(() => proxy.close());
    return proxy;
  }

  /** A pool of the client that is ended at the end. */
  pool(address: string, options: postgres.Options<Record<string, postgres.PostgresType>> = {}): postgres.Sql {
    const sql = postgres(address, { onnotice: () => {}, ...options });
    this.defer(() => sql.end({ timeout: 1 }));
    return sql;
  }

  /** Runs at the end, the last one first. */
  defer(close: () => Promise<unknown>): void {
    this.#closing.unshift(close);
  }

  async end(): Promise<void> {
    for (const close of this.#closing.splice(0)) await close();
    await this.sql.unsafe(`drop schema if exists ${this.quoted} cascade`);
    await this.sql.end();
  }
}

/** An event with an id of its own. */
export function happened(data: unknown = {}): NewEvent & { readonly id: string } {
  return { id: randomUUID(), type: 'Happened', data };
}

/** What a promise rejects with. Fails if it does not. */
export async function failureOf(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('Expected a failure');
}
