import type { StateUnit } from '@refold/core';
import { sqliteChaos } from './chaos-sqlite.js';
import type { ChaosTarget } from './chaos-target.js';

export const chaosTargetNames = [sqliteChaos.name];

/** Calls `use` with the target of that name, whatever its transactions are. */
export function withChaosTarget<Result>(
  name: string,
  use: <Unit extends StateUnit>(target: ChaosTarget<Unit>) => Result,
): Result {
  if (name === sqliteChaos.name) return use(sqliteChaos);
  throw new Error(`There is no target "${name}": there are ${chaosTargetNames.join(', ')}`);
}
