import { parseArgs } from 'node:util';
import type { StateUnit } from '@refold/core';
import { CrashRun } from './crash-run.js';
import type { CrashTarget } from './target.js';
import { withTarget } from './targets.js';

const DEFAULT_ROUNDS = 50;

const USAGE = `npm run crash -- [--rounds N] [--minutes N] [--seed S] [--target NAME]

  --rounds N     at least so many rounds (default ${DEFAULT_ROUNDS})
  --minutes N    and at least so many minutes (default 0)
  --seed S       a whole number from 0 to 4294967295: the same one plans the same kills (default: another each time)
  --target NAME  the store: sqlite (default) or postgres, on the server of DATABASE_URL or a private one

After a failure the store and the journals of its writers are left for inspection.`;

interface Command {
  readonly rounds: number;
  readonly minutes: number;
  readonly seed: number;
  readonly target: string;
}

/** Reads the arguments. @throws Error that says what is wrong with them */
function commandOf(args: readonly string[]): Command {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: String(DEFAULT_ROUNDS) },
      minutes: { type: 'string', default: '0' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      target: { type: 'string', default: 'sqlite' },
    },
  });
  const command = {
    rounds: Number(values.rounds),
    minutes: Number(values.minutes),
    seed: Number(values.seed),
    target: values.target,
  };
  if (!Number.isSafeInteger(command.rounds) || command.rounds < 1)
    throw new Error('--rounds must be a whole number from 1');
  if (!(command.minutes >= 0)) throw new Error('--minutes must be a number from 0');
  if (command.seed >>> 0 !== command.seed)
    throw new Error('--seed must be a whole number from 0 to 4294967295');
  withTarget(command.target, () => {});
  return command;
}

async function run<Unit extends StateUnit>(target: CrashTarget<Unit>, command: Command): Promise<boolean> {
  const { seed, rounds, minutes } = command;
  console.log(`target ${target.name}, seed ${seed}: at least ${rounds} rounds and ${minutes} minutes`);
  const started = performance.now();
  const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1).padStart(7);
  const crash = new CrashRun(target, { seed, onRound: (line) => console.log(`${seconds()} s  ${line}`) });
  const end = started + minutes * 60_000;
  try {
    while (crash.statistics.rounds < rounds || performance.now() < end) await crash.round();
    await crash.finish();
  } catch (error) {
    console.error(error);
    console.error(`\nleft for inspection: ${crash.whereabouts}`);
    console.error(
      `the same plan again: npm run crash -- --rounds ${crash.statistics.rounds + 1} --seed ${seed}`,
    );
    return false;
  }
  console.log(`\n${String(crash.statistics)}`);
  const missed = crash.statistics.missed();
  for (const what of missed) console.error(`proves too little: ${what}`);
  return missed.length === 0;
}

let command: Command;
try {
  command = commandOf(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  process.exit(2);
}
const { target: name } = command;
await withTarget(name, async (target) => {
  const good = await run(target, command);
  // What a failed run has left may be in a database of this process.
  if (!good) process.exit(1);
  await target.end?.();
});
