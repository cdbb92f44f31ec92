import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ServiceConfig, ServiceName } from '../service/config.js';
import type { Answered } from '../service/questions.js';

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A service in a process of its own. */
export class RunningService {
  readonly name: ServiceName;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #up: Promise<unknown>;
  #asked = 0;
  /** The end of what it has logged. */
  #log = '';

  private constructor(name: ServiceName, config: ServiceConfig, verbose: boolean) {
    this.name = name;
    const program = fileURLToPath(new URL(`../${name}/main.js`, import.meta.url));
    this.#child = fork(program, [JSON.stringify(config)], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-2000);
      if (verbose) process.stderr.write(text);
    });
    this.#up = new Promise((resolve, reject) => {
      this.#waiting.set(0, { resolve, reject });
    });
    this.#child.on('message', (answered: Answered) => this.#heard(answered));
    this.#child.once('close', () => this.#gone());
  }

  /** Resolves when the service takes messages. */
  static async start(name: ServiceName, config: ServiceConfig, verbose: boolean): Promise<RunningService> {
    const service = new RunningService(name, config, verbose);
    await service.#up;
    return service;
  }

  /** Asks the service something. @throws what it could not do, and if it ends before it answers */
  ask<Answer = void>(question: string, argument?: unknown): Promise<Answer> {
    const id = ++this.#asked;
    return new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { resolve: (answer) => resolve(answer as Answer), reject });
      this.#child.send({ id, question, argument });
    });
  }

  /** Ends it as a crash does: at once, in the middle of whatever it does. */
  async kill(): Promise<void> {
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  /** Lets it finish what it is at. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    await this.ask('stop');
    await gone;
  }

  #heard({ id = 0, answer, error }: Answered): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(answer);
    else waiting?.reject(new Error(`${this.name}: ${error}`));
  }

  #gone(): void {
    for (const { reject } of this.#waiting.values())
      reject(new Error(`${this.name} has ended:\n${this.#log}`));
    this.#waiting.clear();
  }
}
