import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ACCOUNTS, eventAt } from '../accounts.js';
import { Took, type Peer } from '../harness.js';
import { countOf, type Logs } from './logs.js';
import { appendOne } from './raw.js';
import { installedProgram } from '../../postgres/server.js';

const run = promisify(execFile);

/** Whether pgbench is installed beside the server. */
export const hasPgbench = installedProgram('pgbench') !== undefined;

/**
 * The upper bound: PostgreSQL's own load generator, written in C, runs the same insert as raw on the same table, to streams
 * of its own.
 */
export function pgbench(logs: Logs, clients: number, n: number): Peer[] {
  const program = installedProgram('pgbench');
  if (program === undefined) return [];
  const transactions = n / clients;
  return [
    {
      name: `pgbench on ${clients} connection${clients === 1 ? '' : 's'}`,
      n,
      run: async () => {
        const before = await countOf(logs, 'pgbench-');
        const rate = await rateOf(program, logs, clients, transactions);
        const check = async (): Promise<boolean> => (await countOf(logs, 'pgbench-')) === before + n;
        return new Took(check, n / rate);
      },
    },
  ];
}

async function rateOf(program: string, logs: Logs, clients: number, transactions: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'refold-pgbench-'));
  try {
    const script = join(folder, 'append.sql');
    await writeFile(script, scriptOf(logs.raw.schema));
    const threads = Math.min(2, clients);
    const amounts = ['-c', String(clients), '-j', String(threads), '-t', String(transactions)];
    const { stdout } = await run(program, ['-n', '-M', 'prepared', ...amounts, '-f', script, logs.url]);
    // Without the time to connect, which no other side is charged either.
    return Number(/tps = ([\d.]+) \(without/.exec(stdout)?.[1]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function scriptOf(schema: string): string {
  const data = JSON.stringify(eventAt(0)).replaceAll("'", "''");
  return `\\set account random(1, ${ACCOUNTS})
${appendOne(schema, "('pgbench-' || :client_id || '-' || :account)", 'gen_random_uuid()', "'Deposited'", `'${data}'`)};
`;
}
