import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from './free-port.js';
import type { Service } from './service.js';

/** Where Debian's package keeps the scripts themselves: those on the PATH insist on folders of the system. */
const DEBIAN = '/usr/lib/rabbitmq/bin';
const START_MS = 60_000;
const PROTOCOL_HEADER = Buffer.from('AMQP\0\0\x09\x01', 'latin1');

/** A broker that was started here, and can be told what to do. */
export interface OwnRabbitmq extends Service {
  /** Runs rabbitmqctl, and returns what it prints. */
  control(...args: readonly string[]): Promise<string>;
}

let started: Promise<OwnRabbitmq | { readonly missing: string }> | undefined;

/** The broker of REFOLD_RABBITMQ_URL, or else one on loopback, started once a run; or why there is none. */
export async function rabbitmqService(): Promise<Service | { readonly missing: string }> {
  const url = process.env.REFOLD_RABBITMQ_URL;
  return url === undefined || url === '' ? ownRabbitmqService() : runningAlready(url);
}

/** A broker on loopback that can be killed: started once a run, whatever the environment names. */
export function ownRabbitmqService(): Promise<OwnRabbitmq | { readonly missing: string }> {
  return (started ??= startOwn());
}

/** Ends the broker, if one was started. */
export async function stopRabbitmq(): Promise<void> {
  const service = await started?.catch(() => undefined);
  started = undefined;
  if (service && 'stop' in service) await service.stop();
}

async function startOwn(): Promise<OwnRabbitmq | { readonly missing: string }> {
  if (scriptsFolder() === undefined) {
    const reason = install();
    if (reason !== undefined) return { missing: reason };
  }
  const scripts = scriptsFolder();
  if (scripts === undefined) return { missing: 'rabbitmq-server was installed and is not to be found' };
  const broker = new Broker(scripts, await freePort(), await freePort(), await freePort());
  try {
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  return broker;
}

async function runningAlready(url: string): Promise<Service> {
  const { hostname, port } = new URL(url);
  const greeting = await greetingOf(hostname, Number(port || 5672));
  if (greeting === undefined)
    throw new Error(`No RabbitMQ answers at ${hostname}, which REFOLD_RABBITMQ_URL names`);
  const not = (): Promise<void> =>
    Promise.reject(new Error('This RabbitMQ runs by itself: nobody here may end it'));
  return {
    name: nameIn(greeting),
    address: url,
    kill: not,
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
  };
}

function scriptsFolder(): string | undefined {
  const folders = [DEBIAN, ...(process.env.PATH ?? '').split(delimiter)];
  return folders.find((folder) => existsSync(join(folder, 'rabbitmq-server')));
}

/** Installs Debian's package; or says why it cannot. */
function install(): string | undefined {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    return 'rabbitmq-server is not installed, and only root can install it by apt-get';
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const script = 'apt-get -qq update && apt-get -qq install -y --no-install-recommends rabbitmq-server';
  // Another process may be at it: apt-get itself does not wait for others.
  const lock = join(tmpdir(), 'refold-apt-get.lock');
  try {
    execFileSync('flock', [lock, 'sh', '-c', script], { env, stdio: 'pipe' });
    return undefined;
  } catch (error) {
    const [line] = String(error instanceof Error ? error.message : error).split('\n');
    return `rabbitmq-server is not installed, and apt-get could not: ${line}`;
  }
}

/** A node of its own: name, data, ports, cookie and epmd are nobody else's. */
class Broker implements OwnRabbitmq {
  name = 'RabbitMQ';
  readonly address: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'refold-rabbitmq-'));
  readonly #scripts: string;
  readonly #port: number;
  readonly #env: NodeJS.ProcessEnv;
  readonly #user = rabbitmqUser();
  #epmd: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  readonly #endNow = (): void => this.#end();

  constructor(scripts: string, port: number, distributionPort: number, epmdPort: number) {
    this.#scripts = scripts;
    this.#port = port;
    this.address = `amqp://guest:guest@127.0.0.1:${port}`;
    const at = (name: string): string => join(this.#folder, name);
    this.#env = {
      PATH: `${process.env.PATH}${delimiter}/usr/sbin`,
      LANG: 'C.UTF-8',
      HOME: this.#folder,
      RABBITMQ_NODENAME: `refold-${port}@localhost`,
      RABBITMQ_MNESIA_BASE: at('data'),
      RABBITMQ_LOG_BASE: at('log'),
      RABBITMQ_CONFIG_FILE: at('rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: at('rabbitmq-env.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: at('enabled_plugins'),
      RABBITMQ_DIST_PORT: String(distributionPort),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(epmdPort),
      // Idle schedulers that spin take the processor from the tests.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        '-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none',
    };
    this.#prepare(at);
  }

  async start(): Promise<void> {
    if (this.#server) throw new Error('This RabbitMQ runs already');
    process.once('exit', this.#endNow);
    const run = { env: this.#env, cwd: this.#folder, stdio: 'ignore', ...this.#user } as const;
    // Not left to the node, which would start it as a daemon that nobody ends.
    this.#epmd ??= spawn('epmd', ['-address', '127.0.0.1', '-port', String(this.#env.ERL_EPMD_PORT)], run);
    // A group of its own, so that the signal reaches the script and the machine that it starts.
    this.#server = spawn(join(this.#scripts, 'rabbitmq-server'), [], { ...run, detached: true });
    const greeting = await this.#greeting(this.#server);
    this.name = nameIn(greeting);
  }

  async kill(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const ended = server.exitCode === null && server.signalCode === null ? once(server, 'exit') : undefined;
    signal(server, 'SIGKILL');
    await ended;
    // The port is free when the last process of the group is gone.
    while (await greetingOf('127.0.0.1', this.#port)) await sleep(20);
  }

  async stop(): Promise<void> {
    await this.kill();
    const epmd = this.#epmd;
    this.#epmd = undefined;
    if (epmd && epmd.exitCode === null) {
      const ended = once(epmd, 'exit');
      epmd.kill('SIGKILL');
      await ended;
    }
    process.off('exit', this.#endNow);
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async control(...args: readonly string[]): Promise<string> {
    const options = { env: this.#env, cwd: this.#folder, ...this.#user };
    const { stdout } = await promisify(execFile)(join(this.#scripts, 'rabbitmqctl'), args, options);
    return stdout;
  }

  #prepare(at: (name: string) => string): void {
    const settings = [`listeners.tcp.1 = 127.0.0.1:${this.#port}`, 'disk_free_limit.absolute = 50MB'];
    writeFileSync(at('rabbitmq.conf'), `${settings.join('\n')}\n`);
    writeFileSync(at('rabbitmq-env.conf'), '');
    writeFileSync(at('enabled_plugins'), '[].\n');
    for (const name of ['data', 'log']) mkdirSync(at(name));
    const { uid, gid } = this.#user;
    if (uid === undefined || gid === undefined) return;
    const owned = ['data', 'log', 'rabbitmq.conf', 'rabbitmq-env.conf', 'enabled_plugins'].map(at);
    for (const path of [this.#folder, ...owned]) chownSync(path, uid, gid);
  }

  async #greeting(server: ChildProcess): Promise<Buffer> {
    let failed: unknown;
    server.once('error', (error) => (failed = error));
    const until = Date.now() + START_MS;
    while (Date.now() < until) {
      const greeting = await greetingOf('127.0.0.1', this.#port);
      if (greeting) return greeting;
      if (failed !== undefined) throw new Error('RabbitMQ could not be started', { cause: failed });
      if (server.exitCode !== null)
        throw new Error(`RabbitMQ ended with code ${server.exitCode} as it started`);
      await sleep(100);
    }
    throw new Error(`RabbitMQ did not answer within ${START_MS} ms`);
  }

  #end(): void {
    if (this.#server) signal(this.#server, 'SIGKILL');
    this.#epmd?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function signal({ pid }: ChildProcess, name: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, name);
  } catch {
    // It has ended by itself.
  }
}

/** As root, it runs as the user of its package. */
function rabbitmqUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith('rabbitmq:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined ? {} : { uid: Number(uid), gid: Number(gid) };
}

/** What a broker answers to the header of the protocol; undefined where none answers. */
async function greetingOf(host: string, port: number): Promise<Buffer | undefined> {
  const socket = connect({ host, port, timeout: 5_000 });
  try {
    socket.write(PROTOCOL_HEADER);
    return await new Promise<Buffer | undefined>((resolve) => {
      socket.once('data', resolve);
      for (const end of ['error', 'close', 'timeout'] as const) socket.once(end, () => resolve(undefined));
    });
  } finally {
    socket.destroy();
  }
}

function nameIn(greeting: Buffer): string {
  const version = /versionS[^]{4}(\d+(?:\.\d+)*)/.exec(greeting.toString('latin1'))?.[1];
  return version === undefined ? 'RabbitMQ' : `RabbitMQ ${version}`;
}
