import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import type * as Server from '../../packages/postgres/dist-test/server.js';

// The path from this file's compiled form, which lies one folder deeper: only the types come by the path above.
const compiled = new URL('../../../packages/postgres/dist-test/server.js', import.meta.url);
const { programs } = (await import(compiled.href)) as typeof Server;

/** PostgreSQL refuses to run as root: as root, the server runs as this user (nobody). */
const NOBODY = 65_534;

/** How a server is ended before it starts again: `fast` ends its clients, `immediate` is a crash, which it recovers from. */
const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** A private server on loopback that can be restarted. */
export class RestartableServer {
  readonly address: string;
  readonly #folder: string;
  readonly #run: () => ChildProcess;
  #server: ChildProcess;

  private constructor(folder: string, address: string, run: () => ChildProcess) {
    this.#folder = folder;
    this.address = address;
    this.#run = run;
    this.#server = run();
  }

  static async start(): Promise<RestartableServer> {
    const folder = mkdtempSync(join(tmpdir(), 'refold-chaos-postgres-'));
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    if ('uid' in user) {
      chmodSync(folder, 0o755);
      chownSync(folder, NOBODY, NOBODY);
    }
    const bin = programs(folder);
    const data = join(folder, 'data');
    const how = { ...user, cwd: folder, env: { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC' } };
    const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'];
    execFileSync(join(bin, 'initdb'), initdb, { ...how, stdio: 'pipe' });
    const port = await freePort();
    const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`];
    const options = ['-D', data, ...settings.flatMap((one) => ['-c', one])];
    const server = new RestartableServer(folder, `postgres://postgres@127.0.0.1:${port}/postgres`, () =>
      spawn(join(bin, 'postgres'), options, { ...how, stdio: 'ignore' }),
    );
    await server.#answers();
    return server;
  }

  get pid(): number | undefined {
    return this.#server.pid;
  }

  /** Ends it and starts it again. Resolves when it answers. */
  async restart(how: keyof typeof SIGNALS): Promise<void> {
    await this.#end(SIGNALS[how]);
    this.#server = this.#run();
    await this.#answers();
  }

  /** Ends it and removes its data. */
  async stop(): Promise<void> {
    await this.#end(SIGNALS.immediate);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#server.exitCode !== null) return;
    const ended = once(this.#server, 'exit');
    this.#server.kill(signal);
    await ended;
  }

  async #answers(): Promise<void> {
    const sql = postgres(this.address, { max: 1, fetch_types: false, onnotice: () => {} });
    try {
      for (let tries = 0; tries < 400; tries++) {
        const answer = await sql`select 1`.catch(() => undefined);
        if (answer) return;
        await sleep(50);
      }
      throw new Error('The database did not answer within 20 seconds');
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
