import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { ALL_FLIGHTS } from './flights.js';

const DEFAULT_FLIGHTS = 400_000;

/** What `--help` prints. */
export const HELP = `Replays recorded flights through aggregates, a log and read models, and checks every answer.

  --flights N   land the first N of the ${ALL_FLIGHTS.toLocaleString('en')} flights (default ${DEFAULT_FLIGHTS.toLocaleString('en')})
  --all         land all of them
  --db FILE     write the database to this new file and keep it (default: a temporary one, removed at the end)
  --help        print this
`;

/** What the example is asked to do. */
export interface Options {
  readonly help: boolean;
  readonly flights: number;
  /** The file to keep; undefined for a temporary one. */
  readonly db: string | undefined;
}

/** The arguments ask for something that there is not. */
export class BadArgument extends Error {
  override readonly name = 'BadArgument';
}

/** @throws BadArgument */
export function parseOptions(args: readonly string[]): Options {
  const { help = false, all = false, flights, db } = parse(args);
  if (all && flights !== undefined) throw new BadArgument('--all and --flights exclude each other');
  if (db !== undefined) checkNewFile(db);
  return { help, flights: all ? ALL_FLIGHTS : numberOfFlights(flights), db };
}

interface Values {
  help?: boolean;
  all?: boolean;
  flights?: string;
  db?: string;
}

function parse(args: readonly string[]): Values {
  try {
    const options = {
      help: { type: 'boolean' },
      all: { type: 'boolean' },
      flights: { type: 'string' },
      db: { type: 'string' },
    } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new BadArgument(error instanceof Error ? error.message : String(error));
  }
}

function numberOfFlights(text = String(DEFAULT_FLIGHTS)): number {
  const flights = /^\d+$/.test(text) ? Number(text) : 0;
  if (flights >= 1 && flights <= ALL_FLIGHTS) return flights;
  throw new BadArgument(
    `--flights must be a whole number from 1 to ${ALL_FLIGHTS.toLocaleString('en')}, got "${text}"`,
  );
}

/** The example counts what it lands, so it starts with an empty log. */
function checkNewFile(path: string): void {
  if (path === '') throw new BadArgument('--db must name a file');
  if (existsSync(path)) throw new BadArgument(`--db must name a new file: ${path} exists`);
  if (!existsSync(dirname(path))) throw new BadArgument(`--db: there is no folder ${dirname(path)}`);
}
