import { simulate, type Outcome } from './simulation.js';

/** A run that fails, with as few of its plan's actions as it needs for that. */
export interface Minimal {
  readonly outcome: Outcome;
  /** The actions that are left out, by their places in the plan. */
  readonly omit: ReadonlySet<number>;
}

/** Leaves out one action after the other, as long as something is violated without it. */
export async function minimise({ seed, plan }: Outcome): Promise<Minimal> {
  let omit: ReadonlySet<number> = new Set();
  let outcome = await simulate(seed);
  for (let shrinks = true; shrinks;) {
    shrinks = false;
    for (let index = 0; index < plan.actions.length; index++) {
      if (omit.has(index)) continue;
      const fewer = new Set([...omit, index]);
      const tried = await simulate(seed, { omit: fewer });
      if (tried.violations.length === 0) continue;
      omit = fewer;
      outcome = tried;
      shrinks = true;
    }
  }
  return { outcome, omit };
}
