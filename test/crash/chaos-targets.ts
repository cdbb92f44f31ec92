import type { StateUnit } from '@refold/core';
import { postgresChaos } from './chaos-postgres.js';
import { sqliteChaos } from './chaos-sqlite.js';
import type { ChaosTarget } from './chaos-target.js';

export const chaosTargetNames = [sqliteChaos.name, postgresChaos.name];

/** Calls `use` with the target of that name, whatever its transactions are. */
export function withChaosTarget<Result>(
  name: string,
  use: <Unit extends StateUnit>(target: ChaosTarget<Unit>) => Result,
): Result {
  if (name === sqliteChaos.name) return use(sqliteChaos);
  if (name === postgresChaos.name) return use(postgresChaos);
  throw new Error(`There is no target "${name}": there are ${chaosTargetNames.join(', ')}`);
}
