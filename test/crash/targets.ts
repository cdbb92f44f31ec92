import type { StateUnit } from '@refold/core';
import { sqliteTarget } from './sqlite-target.js';
import type { CrashTarget } from './target.js';

/** Calls `use` with the target of that name, whatever its transactions are. */
export function withTarget<Result>(
  name: string,
  use: <Unit extends StateUnit>(target: CrashTarget<Unit>) => Result,
): Result {
  if (name === sqliteTarget.name) return use(sqliteTarget);
  throw new Error(`There is no target "${name}": there is ${sqliteTarget.name}`);
}
