import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from './free-port.js';
import type { Service } from './service.js';

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url));
const POM = join(REPOSITORY, 'test/services/pom.xml');
const VERSION = /<version>(\d+\.\d+\.\d+)<\/version>/.exec(readFileSync(POM, 'utf8'))?.[1] ?? '';
/** Survives a build, and is no part of the repository. */
const LIBRARIES = join(REPOSITORY, 'node_modules/.cache/refold-kafka', VERSION);
const OLDEST_JAVA = 17;
const START_MS = 60_000;
const DOWNLOAD_MS = 240_000;
/** ApiVersions, version 0, from a client without a name: a broker answers it before anything else. */
const API_VERSIONS = Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);

let started: Promise<Service | { readonly missing: string }> | undefined;

/**
 * The brokers of REFOLD_KAFKA_BROKERS (`host:port`, separated by commas), or else a Kafka on loopback, started once a run; or
 * why there is none. Its address is a list of brokers.
 */
export async function kafkaService(): Promise<Service | { readonly missing: string }> {
  const brokers = process.env.REFOLD_KAFKA_BROKERS;
  return brokers === undefined || brokers === '' ? ownKafkaService() : runningAlready(brokers);
}

/** A Kafka on loopback that can be killed: started once a run, whatever the environment names. */
export function ownKafkaService(): Promise<Service | { readonly missing: string }> {
  return (started ??= startOwn());
}

/** Ends the Kafka, if one was started. */
export async function stopKafka(): Promise<void> {
  const service = await started?.catch(() => undefined);
  started = undefined;
  if (service && 'stop' in service) await service.stop();
}

async function startOwn(): Promise<Service | { readonly missing: string }> {
  const missing = lackingJava() ?? (existsSync(LIBRARIES) ? undefined : await download());
  if (missing !== undefined) return { missing };
  const kafka = new Kafka(await freePort(), await freePort());
  try {
    await kafka.start();
  } catch (error) {
    await kafka.stop();
    throw error;
  }
  return kafka;
}

async function runningAlready(brokers: string): Promise<Service> {
  const [first = ''] = brokers.split(',');
  const [, host = first, port = '9092'] = /^(.*):(\d+)$/.exec(first.trim()) ?? [];
  if (!(await answers(host, Number(port))))
    throw new Error(`No Kafka answers at ${first}, which REFOLD_KAFKA_BROKERS names`);
  const not = (): Promise<void> =>
    Promise.reject(new Error('This Kafka runs by itself: nobody here may end it'));
  return {
    ...{ name: 'Kafka', address: brokers, kill: not },
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
  };
}

function lackingJava(): string | undefined {
  let version: string;
  try {
    version = execFileSync('java', ['--version'], { encoding: 'utf8', stdio: 'pipe' });
  } catch {
    return `there is no Java on the PATH: Kafka needs ${OLDEST_JAVA} or later`;
  }
  const major = Number(/\d+/.exec(version)?.[0]);
  if (major >= OLDEST_JAVA) return undefined;
  return `Java ${major} is on the PATH: Kafka needs ${OLDEST_JAVA} or later`;
}

/** Fetches the jars; or says why they cannot be had. */
async function download(): Promise<string | undefined> {
  mkdirSync(dirname(LIBRARIES), { recursive: true });
  const folder = mkdtempSync(`${LIBRARIES}-`);
  const goal = ['dependency:copy-dependencies', `-DoutputDirectory=${folder}`, '-DincludeScope=runtime'];
  try {
    await promisify(execFile)('mvn', ['-q', '-B', '-f', POM, ...goal], { timeout: DOWNLOAD_MS });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (absent) return 'there is no Maven on the PATH, which fetches Kafka';
    const [line] = String(error instanceof Error ? error.message : error).split('\n');
    return `Maven could not fetch Kafka ${VERSION}: ${line}`;
  }
  try {
    renameSync(folder, LIBRARIES);
  } catch (error) {
    // Another run was faster.
    rmSync(folder, { recursive: true, force: true });
    if (!existsSync(LIBRARIES)) throw error;
  }
  return undefined;
}

/** One node that is broker and controller, with ports and data of its own. */
class Kafka implements Service {
  readonly name = `Kafka ${VERSION}`;
  readonly address: string;
  readonly #port: number;
  readonly #folder = mkdtempSync(join(tmpdir(), 'refold-kafka-'));
  readonly #properties = join(this.#folder, 'server.properties');
  #server: ChildProcess | undefined;
  #formatted = false;
  readonly #endNow = (): void => this.#end();

  constructor(port: number, controllerPort: number) {
    this.#port = port;
    this.address = `127.0.0.1:${port}`;
    writeFileSync(this.#properties, properties(port, controllerPort, join(this.#folder, 'data')));
  }

  async start(): Promise<void> {
    if (this.#server) throw new Error('This Kafka runs already');
    process.once('exit', this.#endNow);
    if (!this.#formatted) {
      const id = (await this.#storage('random-uuid')).trim();
      await this.#storage('format', '--standalone', '-t', id, '-c', this.#properties);
      this.#formatted = true;
    }
    const heap = ['-Xms256m', '-Xmx512m', '-XX:ActiveProcessorCount=2', '-XX:TieredStopAtLevel=1'];
    const run = [...heap, '-cp', join(LIBRARIES, '*'), 'kafka.Kafka', this.#properties];
    this.#server = spawn('java', run, { cwd: this.#folder, stdio: 'ignore' });
    await this.#answers(this.#server);
  }

  async kill(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const ended = server.exitCode === null && server.signalCode === null ? once(server, 'exit') : undefined;
    server.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    process.off('exit', this.#endNow);
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #storage(...args: readonly string[]): Promise<string> {
    const command = ['-cp', join(LIBRARIES, '*'), 'kafka.tools.StorageTool', ...args];
    const { stdout } = await promisify(execFile)('java', command, { cwd: this.#folder });
    return stdout;
  }

  async #answers(server: ChildProcess): Promise<void> {
    const until = Date.now() + START_MS;
    while (Date.now() < until) {
      if (await answers('127.0.0.1', this.#port)) return;
      if (server.exitCode !== null) throw new Error(`Kafka ended with code ${server.exitCode} as it started`);
      await sleep(100);
    }
    throw new Error(`Kafka did not answer within ${START_MS} ms`);
  }

  #end(): void {
    this.#server?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function properties(port: number, controllerPort: number, data: string): string {
  const settings: Record<string, string | number> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}`,
    'log.dirs': data,
    // Until then a node that was killed is taken to run still, and the next is not let in.
    'broker.session.timeout.ms': 4000,
    'broker.heartbeat.interval.ms': 500,
    'num.partitions': 4,
    'auto.create.topics.enable': 'false',
    'offsets.topic.num.partitions': 1,
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.num.partitions': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.replication.factor': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

/** Whether a broker answers there. */
async function answers(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port, timeout: 5_000 });
  try {
    socket.write(API_VERSIONS);
    return await new Promise<boolean>((resolve) => {
      socket.once('data', () => resolve(true));
      for (const end of ['error', 'close', 'timeout'] as const) socket.once(end, () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}
