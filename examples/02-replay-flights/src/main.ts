import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { BadArgument, HELP, parseOptions, type Options } from './options.js';
import { replayFlights } from './replay.js';

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.help) {
      print(HELP);
      return 0;
    }
    return (await replayFlights(options.flights, databaseFile(options), print)) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof BadArgument)) throw error;
    process.stderr.write(`${error.message}\n\n${HELP}\n`);
    return 2;
  }
}

/** The file that was asked for, or one in a folder that is removed however the process ends. */
function databaseFile({ db }: Options): string {
  if (db !== undefined) {
    const file = resolve(db);
    print(`Database: ${file}. Look at its read models with any SQLite tool, also while this runs:`);
    print(`  sqlite3 ${file} "select * from days"`);
    print(`  sqlite3 ${file} "select document from airports where key = 'ORD'"\n`);
    return file;
  }
  const folder = mkdtempSync(join(tmpdir(), 'refold-flights-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  // A signal ends a process without its exit handlers, unless somebody listens.
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
  const file = join(folder, 'flights.db');
  print(`Database: ${file}, removed at the end (keep one with --db FILE)\n`);
  return file;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
