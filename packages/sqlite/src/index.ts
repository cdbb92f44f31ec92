export {
  CorruptDatabaseError,
  DatabaseOpenError,
  DiskFullError,
  ForeignDatabaseError,
  NewerDatabaseError,
  ReadonlyDatabaseError,
  TransactionUndoneError,
} from './errors.js';
export { sqliteStore, SqliteStore, type SqliteStoreOptions } from './sqlite-store.js';
export { sqlProjection } from './sql-projection.js';
export type { Durability } from './database.js';
export type { RunResult, SqliteUnit } from './sqlite-unit.js';
export type { SqlValue } from './statements.js';
