import type { StateUnit } from '@refold/core';
import { postgresTarget } from './postgres-target.js';
import { sqliteTarget } from './sqlite-target.js';
import type { CrashTarget } from './target.js';

/** Calls `use` with the target of that name, whatever its transactions are. */
export function withTarget<Result>(
  name: string,
  use: <Unit extends StateUnit>(target: CrashTarget<Unit>) => Result,
): Result {
  if (name === sqliteTarget.name) return use(sqliteTarget);
  if (name === postgresTarget.name) return use(postgresTarget);
  throw new Error(`There is no target "${name}": there are ${sqliteTarget.name} and ${postgresTarget.name}`);
}
