import { readdirSync, readFileSync } from 'node:fs';
import { query, type Runner, type Sessions } from './connection.js';
import { NewerSchemaError, OutdatedSchemaError, UnsuitableDatabaseError } from './errors.js';
import { Schema } from './schema.js';

const MIGRATIONS = new URL('../migrations/', import.meta.url);

/** PostgreSQL 13 is the oldest release whose features the migrations use. */
const OLDEST_SERVER = 130_000;

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/**
 * The SQL that sets a schema up, or leads it on from a version, as one transaction: for those who run migrations by hand,
 * under a role that may create schemas and tables. Nothing is run.
 * @throws InvalidArgumentError for a bad schema name
 */
export function migrationSql({
  schema = 'refold',
  from = 0,
}: { schema?: string; from?: number } = {}): string {
  const named = new Schema(schema);
  const missing = migrations().filter(({ version }) => version > from);
  return ['begin;', preparation(named), ...missing.map((one) => stepSql(one, named)), 'commit;', ''].join(
    '\n\n',
  );
}

/** Runs what is missing, once however many processes start together. */
export async function migrate(sql: Sessions, schema: Schema): Promise<void> {
  const all = migrations();
  // A look without a lock: usually there is nothing to do.
  if ((await checkedVersion(sql, schema, all)) === all.length) return;
  await sql.begin(async (transaction) => {
    await query(transaction, 'select pg_advisory_xact_lock(1382377071, hashtext($1))', [
      `migrate ${schema.name}`,
    ]);
    const version = await checkedVersion(transaction, schema, all);
    if (version === 0) await transaction.unsafe(preparation(schema));
    for (const one of all) if (one.version > version) await transaction.unsafe(stepSql(one, schema));
  });
}

/** @throws OutdatedSchemaError, NewerSchemaError */
export async function checkMigrated(sql: Runner, schema: Schema): Promise<void> {
  const all = migrations();
  const version = await checkedVersion(sql, schema, all);
  if (version < all.length) throw new OutdatedSchemaError(schema.name, version, all.length);
}

async function checkedVersion(sql: Runner, schema: Schema, all: readonly Migration[]): Promise<number> {
  const [server] = await query<{ encoding: string; version: number; there: boolean }>(
    sql,
    `select current_setting('server_encoding') as encoding, current_setting('server_version_num')::int as version,
       exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relname = 'migrations') as there`,
    // Not to_regclass: it may answer from a cache that is older than the lock that was waited for.
    [schema.name],
  );
  if (server && server.encoding !== 'UTF8') {
    throw new UnsuitableDatabaseError(
      `its encoding is ${server.encoding}, it must be UTF8: create one with encoding 'UTF8'`,
    );
  }
  if (server && server.version < OLDEST_SERVER) {
    throw new UnsuitableDatabaseError('its server is older than PostgreSQL 13: use a newer one');
  }
  if (!server?.there) return 0;
  const [row] = await query<{ version: number | null }>(
    sql,
    `select max(version) as version from ${schema.of('migrations')}`,
  );
  const version = row?.version ?? 0;
  if (version > all.length) throw new NewerSchemaError(schema.name, version, all.length);
  return version;
}

/** The names and texts of the migrations, in order; the number that a name begins with is the version it leads to. */
function migrations(): Migration[] {
  return readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => ({
      version: Number.parseInt(name, 10),
      name,
      sql: readFileSync(new URL(name, MIGRATIONS), 'utf8'),
    }));
}

/** `create schema if not exists` asks for the right to create schemas, even where there is nothing to create. */
function preparation(schema: Schema): string {
  return schema.fill(`do $$ begin
  if to_regnamespace('{schema in a literal}') is null then create schema {schema}; end if;
end $$;

create table if not exists {schema}.migrations (
  version integer     not null primary key,
  name    text        not null,
  run_at  timestamptz not null default now()
);`);
}

function stepSql({ version, name, sql }: Migration, schema: Schema): string {
  const done = `insert into {schema}.migrations (version, name) values (${version}, '${name}');`;
  return schema.fill(`-- ${name}\n\n${sql.trim()}\n\n${done}`);
}
