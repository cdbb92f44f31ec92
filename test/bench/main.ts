import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Bench, type Suite } from './harness.js';
import { growthTable, reaches, rowTable } from './report.js';
import { deliverySuite } from './delivery/suite.js';
import { postgresSuite } from './postgres/suite.js';
import { sqliteSuite } from './sqlite/suite.js';

const SUITES: readonly Suite[] = [sqliteSuite, postgresSuite, deliverySuite];

const USAGE = `npm run bench -- SUITE [--quick] [--json FILE]

  SUITE        ${SUITES.map(({ name, about }) => `${name}: ${about}`).join('\n               ')}
  --quick      shorter logs and fewer rounds: ends within a minute
  --json FILE  writes the rows, one JSON object a line`;

interface Command {
  readonly suite: Suite;
  readonly quick: boolean;
  readonly json: string | undefined;
}

/** Reads the arguments. @throws Error that says what is wrong with them */
function commandOf(args: readonly string[]): Command {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } },
    allowPositionals: true,
  });
  const [name, ...more] = positionals;
  if (name === undefined) throw new Error('Name the suite to run');
  if (more.length > 0) throw new Error(`One suite a run, got also ${more.join(', ')}`);
  const suite = SUITES.find((one) => one.name === name);
  if (!suite) {
    throw new Error(`There is no suite "${name}": there is ${SUITES.map((one) => one.name).join(', ')}`);
  }
  return { suite, quick: values.quick, json: values.json };
}

async function run({ suite, quick, json }: Command): Promise<boolean> {
  const started = performance.now();
  const bench = new Bench({ quick, log: (line) => console.error(`${since(started)}  ${line}`) });
  await suite.run(bench);
  const { results } = bench;
  if (json !== undefined) writeFileSync(json, results.map(({ row }) => `${JSON.stringify(row)}\n`).join(''));
  console.log(`\n${rowTable(results)}\n\n${growthTable(results)}\n`);
  const missed = results.filter(({ row, bar }) => bar && !reaches(row, bar));
  const wrong = results.filter(({ row }) => !row.correct);
  for (const { row } of missed) console.log(`below its bar: ${row.name}`);
  for (const { row } of wrong) console.log(`NOT CORRECT: ${row.name}`);
  console.log(`${results.length} rows in ${since(started).trim()}`);
  return wrong.length === 0;
}

function since(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(1)} s`.padStart(8);
}

let command: Command;
try {
  command = commandOf(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  process.exit(2);
}
process.exitCode = (await run(command)) ? 0 : 1;
