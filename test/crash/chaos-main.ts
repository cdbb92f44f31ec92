import { parseArgs } from 'node:util';
import type { StateUnit } from '@refold/core';
import { ChaosRun } from './chaos-run.js';
import type { ChaosTarget } from './chaos-target.js';
import { chaosTargetNames, withChaosTarget } from './chaos-targets.js';

const USAGE = `npm run chaos -- [--minutes N] [--rounds N] [--seconds N] [--seed S] [--target NAME]

  --minutes N    at least so many minutes (default 1)
  --rounds N     and at least so many rounds (default 1)
  --seconds N    of chaos in each round (default 15)
  --seed S       a whole number from 0 to 4294967295: the same one plans the same things (default: another each time)
  --target NAME  the store: ${chaosTargetNames.join(' or ')} (default sqlite)

After a failure the store, the journals and the logs of all processes are left for inspection.`;

interface Command {
  readonly minutes: number;
  readonly rounds: number;
  readonly seconds: number;
  readonly seed: number;
  readonly target: string;
}

/** Reads the arguments. @throws Error that says what is wrong with them */
function commandOf(args: readonly string[]): Command {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '15' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      target: { type: 'string', default: 'sqlite' },
    },
  });
  const [minutes, rounds, seconds, seed] = [
    Number(values.minutes),
    Number(values.rounds),
    Number(values.seconds),
    Number(values.seed),
  ];
  if (!(minutes >= 0)) throw new Error('--minutes must be a number from 0');
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error('--rounds must be a whole number from 1');
  if (!(seconds > 0)) throw new Error('--seconds must be a number above 0');
  if (seed >>> 0 !== seed) throw new Error('--seed must be a whole number from 0 to 4294967295');
  withChaosTarget(values.target, () => {});
  return { minutes, rounds, seconds, seed, target: values.target };
}

async function run<Unit extends StateUnit>(target: ChaosTarget<Unit>, command: Command): Promise<boolean> {
  const { seed, rounds, minutes, seconds } = command;
  console.log(`target ${target.name}, seed ${seed}: at least ${rounds} rounds and ${minutes} minutes`);
  const started = performance.now();
  const elapsed = (): string => ((performance.now() - started) / 1000).toFixed(1).padStart(7);
  const onRound = (line: string): void => console.log(`${elapsed()} s  ${line}`);
  const chaos = new ChaosRun(target, { seed, roundMs: seconds * 1000, onRound });
  const end = started + minutes * 60_000;
  try {
    while (chaos.statistics.rounds < rounds || performance.now() < end) await chaos.round();
  } catch (error) {
    console.error(`${chaos.schedule}\n`);
    console.error(error);
    console.error(`\nleft for inspection: ${chaos.whereabouts}`);
    const again = `--rounds ${chaos.statistics.rounds + 1} --minutes 0 --seconds ${seconds}`;
    console.error(`the same plan again: npm run chaos -- ${again} --seed ${seed} --target ${target.name}`);
    await chaos.leave();
    return false;
  }
  await chaos.close();
  console.log(`\n${String(chaos.statistics)}`);
  const missed = chaos.statistics.missed();
  for (const what of missed) console.error(`proves too little: no ${what}`);
  return missed.length === 0;
}

let command: Command;
try {
  command = commandOf(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  process.exit(2);
}
// After a failure, a private server of the database may be left running.
process.exit((await withChaosTarget(command.target, (target) => run(target, command))) ? 0 : 1);
