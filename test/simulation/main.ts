import { parseArgs } from 'node:util';
import { minimise } from './minimise.js';
import { simulate, type Outcome } from './simulation.js';

const USAGE = `npm run simulate -- [--runs N] [--seed N] [--minutes N] [--omit N,N…] [--trace]

  --runs N       at least so many runs, of the seed and those after it (default 1000; with --trace or --omit 1)
  --seed N       the first seed, a whole number from 0 (default: another each time)
  --minutes N    and at least so many minutes (default 0)
  --omit N,N…    leave out these actions of the plan, as a failure tells them
  --trace        print everything that happens

Ends at the first seed that fails, and prints it with the fewest actions with which it fails.`;

interface Command {
  readonly runs: number;
  readonly seed: number;
  readonly minutes: number;
  readonly omit: ReadonlySet<number>;
  readonly trace: boolean;
}

/** Reads the arguments. @throws Error that says what is wrong with them */
function commandOf(args: readonly string[]): Command {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: 'string' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      minutes: { type: 'string', default: '0' },
      omit: { type: 'string', default: '' },
      trace: { type: 'boolean', default: false },
    },
  });
  const { trace } = values;
  const omit = new Set(values.omit === '' ? [] : values.omit.split(',').map(Number));
  const runs = Number(values.runs ?? (trace || omit.size > 0 ? 1 : 1000));
  const seed = Number(values.seed);
  const minutes = Number(values.minutes);
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error('--runs must be a whole number from 1');
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error('--seed must be a whole number from 0');
  if (!(minutes >= 0)) throw new Error('--minutes must be a number from 0');
  return { runs, seed, minutes, omit, trace };
}

async function run({ runs, seed, minutes, omit, trace }: Command): Promise<boolean> {
  const started = performance.now();
  const done = { runs: 0, steps: 0, commits: 0 };
  while (done.runs < runs || performance.now() < started + minutes * 60_000) {
    const outcome = await simulate(seed + done.runs, { omit, trace });
    if (trace) console.log(outcome.trace.join('\n'));
    if (outcome.violations.length > 0) {
      await explain(outcome, omit.size === 0 && !trace);
      return false;
    }
    done.runs += 1;
    done.steps += outcome.steps;
    done.commits += outcome.commits;
  }
  const ms = performance.now() - started;
  console.log(
    `seeds ${seed} to ${seed + done.runs - 1}: ${done.runs} runs, ${done.steps} steps, ${done.commits} commits ` +
      `in ${(ms / 1000).toFixed(1)} s, ${Math.round((done.runs * 60_000) / ms)} runs a minute`,
  );
  return true;
}

async function explain(outcome: Outcome, further: boolean): Promise<void> {
  const { seed } = outcome;
  console.error(`seed ${seed} fails:`);
  for (const violation of outcome.violations) console.error(`- ${violation}`);
  if (!further) return;
  const { outcome: least, omit } = await minimise(outcome);
  console.error(
    `\nThe least of its plan that fails:\n${JSON.stringify({ ...least.plan, actions: undefined })}`,
  );
  least.plan.actions.forEach((planned, index) => {
    if (!omit.has(index)) console.error(`${index}: ${JSON.stringify(planned)}`);
  });
  for (const violation of least.violations) console.error(`- ${violation}`);
  const omitted = omit.size > 0 ? ` --omit ${[...omit].join(',')}` : '';
  console.error(`\nagain: npm run simulate -- --seed ${seed}${omitted} --trace`);
}

let command: Command;
try {
  command = commandOf(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  process.exit(2);
}
process.exitCode = (await run(command)) ? 0 : 1;
