import type { StateUnit } from '@refold/core';
import { postgresChaos } from '../crash/chaos-postgres.js';
import type { EffectTarget } from '../crash/effect-target.js';
import { sqliteEffects } from '../crash/sqlite-effects.js';

/** Calls `use` with the target of that name, whatever its transactions are. */
export function withTarget<Result>(
  name: string,
  use: <Unit extends StateUnit>(target: EffectTarget<Unit>) => Result,
): Result {
  if (name === sqliteEffects.name) return use(sqliteEffects);
  if (name === postgresChaos.name) return use(postgresChaos);
  throw new Error(`There is no target "${name}"`);
}
