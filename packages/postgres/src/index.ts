export { NewerSchemaError, OutdatedSchemaError, PrivilegeError, UnsuitableDatabaseError } from './errors.js';
export { migrationSql } from './migrations.js';
export type { Database } from './connection.js';
export {
  postgresStore,
  PostgresStore,
  type PostgresAppendAllOptions,
  type PostgresAppendOptions,
  type PostgresTransaction,
} from './postgres-store.js';
export type { PostgresStoreOptions } from './options.js';
export type { PostgresUnit } from './postgres-unit.js';
export { sqlProjection } from './sql-projection.js';
