import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Orders, Report } from './orders.js';
import type { Moment } from './plan.js';

/** How long a process may take to begin its work, and to find enough of it for its moment to come. */
const START_MS = 30_000;
const PATIENCE_MS = 1000;

/** A process that is started to be killed with SIGKILL. */
export class Victim {
  readonly #child: ChildProcess;
  readonly #role: string;
  readonly #ended: Promise<void>;
  #reports: Report[] = [];
  #onReport: () => void = () => {};
  #errors = '';
  #running = true;

  private constructor(role: 'writer' | 'worker', orders: Orders) {
    this.#role = `${role} ${orders.life}`;
    const script = fileURLToPath(new URL(`${role}-child.js`, import.meta.url));
    this.#child = fork(script, [JSON.stringify(orders)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    this.#child.on('message', (message) => {
      this.#reports.push(message as Report);
      this.#onReport();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#running = false;
        this.#onReport();
        resolve();
      });
    });
  }

  static start(role: 'writer' | 'worker', orders: Orders): Victim {
    return new Victim(role, orders);
  }

  /**
   * Kills the process at its moment and waits until it is gone; at the latest some time after it has begun to work.
   * @throws Error with what it wrote to stderr if it ended in another way, or never began to work
   */
  async killAt(moment: Moment): Promise<void> {
    try {
      if (moment.kind === 'opening') {
        await this.#until(() => false, moment.afterMs);
      } else {
        const ready = await this.#until(() => this.#reports.length > 0, START_MS);
        if (!ready) throw new Error(`The ${this.#role} did not begin to work within ${START_MS} ms`);
        const steps = moment.kind === 'count' ? moment.steps : Infinity;
        const ms = moment.kind === 'time' ? moment.afterMs : PATIENCE_MS;
        await this.#until(() => this.#reports.length > steps, ms);
      }
    } finally {
      await this.kill();
    }
    if (this.#child.signalCode === 'SIGKILL') return;
    throw new Error(`The ${this.#role} ended by itself (${this.#child.exitCode}):\n${this.#errors}`);
  }

  /** Kills it now, if it still runs, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Resolves with true when the condition holds, with false after so many milliseconds, or at the end of the process. */
  async #until(condition: () => boolean, ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
      this.#onReport = () => {
        if (condition() || !this.#running) resolve();
      };
      this.#onReport();
    });
    clearTimeout(timer);
    this.#onReport = () => {};
    return condition() || !this.#running;
  }
}
