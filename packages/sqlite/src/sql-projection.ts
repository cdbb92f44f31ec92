import { customProjection, type CustomProjection, type CustomProjectionOptions } from '@refold/core';
import type { SqliteUnit } from './sqlite-unit.js';

/**
 * Declares a projection that writes its own tables with SQL: handlers get the transaction as `context.unit`, with
 * `run`, `get` and `all`, and the names of their tables by `context.table(name)`. Readers query the tables under their
 * plain names, which always show the live build.
 * @throws DefinitionError for a bad name, version, mode or table
 */
export function sqlProjection(name: string, options: CustomProjectionOptions): CustomProjection<SqliteUnit> {
  return customProjection<SqliteUnit>(name, options);
}
