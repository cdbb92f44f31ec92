import { customProjection, type CustomProjection, type CustomProjectionOptions } from '@refold/core';
import type { PostgresUnit } from './postgres-unit.js';

/**
 * Declares a projection that writes tables of its own: `tables` gives the statements that create each, given its name, and
 * handlers write with `context.unit.sql`, the transaction that moves the checkpoint too, into `context.table(name)`. Readers
 * query the tables under their plain names in the store's schema, which always show the live build.
 * @throws DefinitionError for a bad name, version, mode or table
 */
export function sqlProjection(
  name: string,
  options: CustomProjectionOptions,
): CustomProjection<PostgresUnit> {
  return customProjection<PostgresUnit>(name, options);
}
