import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Orders } from './orders.js';

/** A process that follows the log while others write to it and are killed. */
export class Tail {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #errors = '';
  #read = 0;

  constructor(orders: Orders) {
    const script = fileURLToPath(new URL('reader-child.js', import.meta.url));
    this.#child = fork(script, [JSON.stringify(orders)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    this.#child.on('message', (message) => {
      if (typeof message === 'object' && 'read' in message) this.#read = Number(message.read);
    });
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  /** Lets it read up to the head of the log, and ends it. What it has read; @throws Error with what it found wrong */
  async finish(head: number): Promise<number> {
    if (this.#child.connected) this.#child.send(head);
    await this.#ended;
    if (this.#child.exitCode === 0 && this.#read >= head) return this.#read;
    throw new Error(`A reader ended at ${this.#read} of ${head} (${this.#child.exitCode}):\n${this.#errors}`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
