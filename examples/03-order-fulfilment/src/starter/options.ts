import { parseArgs } from 'node:util';

/** What `--help` prints. */
export const HELP = `An order's way through five services: orders, payments, inventory, shipping, notifications.

  --orders N           how many orders are placed (default 200, at least 20)
  --seed S             which ones (default 1)
  --store KIND         sqlite (default), or postgres: a schema for each service in the database of DATABASE_URL
  --transport KIND     webhook (default); rabbitmq: queues at REFOLD_RABBITMQ_URL;
                       or kafka: topics at REFOLD_KAFKA_BROKERS
  --verbose            print what the services log
  --help               print this
`;

/** What the example is asked to do. */
export interface Options {
  readonly help: boolean;
  readonly verbose: boolean;
  readonly orders: number;
  readonly seed: number;
  readonly store: 'sqlite' | 'postgres';
  readonly transport: 'webhook' | 'rabbitmq' | 'kafka';
}

/** The arguments ask for something that there is not. */
export class BadArgument extends Error {
  override readonly name = 'BadArgument';
}

/** @throws BadArgument */
export function parseOptions(args: readonly string[]): Options {
  const {
    help = false,
    verbose = false,
    orders = '200',
    seed = '1',
    store = 'sqlite',
    transport = 'webhook',
  } = parse(args);
  return {
    help,
    verbose,
    orders: wholeNumber('--orders', orders, 20),
    seed: wholeNumber('--seed', seed, 0),
    store: oneOf('--store', store, ['sqlite', 'postgres']),
    transport: oneOf('--transport', transport, ['webhook', 'rabbitmq', 'kafka']),
  };
}

/** The address of a server that an option needs. @throws BadArgument */
export function addressIn(variable: string): string {
  const address = process.env[variable];
  if (!address) throw new BadArgument(`Set ${variable} to the address of the server`);
  return address;
}

type Values = Partial<Record<'orders' | 'seed' | 'store' | 'transport', string>> & {
  help?: boolean;
  verbose?: boolean;
};

function parse(args: readonly string[]): Values {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    const options = {
      orders: text,
      seed: text,
      store: text,
      transport: text,
      help: flag,
      verbose: flag,
    } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new BadArgument(error instanceof Error ? error.message : String(error));
  }
}

function wholeNumber(name: string, text: string, least: number): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  if (number >= least) return number;
  throw new BadArgument(`${name} must be a whole number from ${least}, got "${text}"`);
}

function oneOf<Value extends string>(name: string, text: string, allowed: readonly Value[]): Value {
  const found = allowed.find((value) => value === text);
  if (found !== undefined) return found;
  throw new BadArgument(`${name} must be ${allowed.join(' or ')}, got "${text}"`);
}
