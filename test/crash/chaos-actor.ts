import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Answer, ChaosOrders, Message, Order, Steering } from './chaos-orders.js';

export type Role = 'worker' | 'writer';

/** How a process has ended. */
export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that takes part, until it is killed or asked to end. */
export class Actor {
  readonly role: Role;
  readonly life: number;
  readonly ended: Promise<End>;
  /** What it wrote to stderr. */
  errors = '';
  /** Whether it was ever frozen. */
  wasFrozen = false;
  /** Whether it was asked to end by itself. */
  asked = false;
  readonly #child: ChildProcess;
  readonly #questions = new Map<number, (answer: Answer) => void>();
  #ready = false;
  #end: End | undefined;
  #count = 0;
  #thaw: NodeJS.Timeout | undefined;

  private constructor(role: Role, orders: ChaosOrders) {
    this.role = role;
    this.life = orders.life;
    const script = fileURLToPath(new URL(`chaos-${role}-child.js`, import.meta.url));
    const child = fork(script, [JSON.stringify(orders)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child = child;
    child.stderr?.on('data', (chunk: Buffer) => (this.errors += chunk.toString()));
    child.on('message', (message: Message) => {
      if (message === 'ready') this.#ready = true;
      else this.#questions.get(message.id)?.(message);
    });
    // A message may be on its way when the process is gone.
    child.on('error', () => {});
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        clearTimeout(this.#thaw);
        for (const [id, answer] of this.#questions) answer({ id, outcome: 'gone' });
        this.#end = { code, signal };
        resolve(this.#end);
      });
    });
  }

  static start(role: Role, orders: ChaosOrders): Actor {
    return new Actor(role, orders);
  }

  get isAlive(): boolean {
    return this.#end === undefined;
  }

  /** Whether it has come to its work. */
  get hasBegun(): boolean {
    return this.#ready;
  }

  /** Whether it works: it has begun, and is not about to end. */
  get isReady(): boolean {
    return this.#ready && this.isAlive && !this.asked;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** Stops the process in its tracks for a while. */
  freeze(ms: number): void {
    this.wasFrozen = true;
    this.#child.kill('SIGSTOP');
    clearTimeout(this.#thaw);
    this.#thaw = setTimeout(() => this.thaw(), ms);
  }

  thaw(): void {
    clearTimeout(this.#thaw);
    this.#child.kill('SIGCONT');
  }

  /** Asks it to end: a worker by SIGTERM, a writer by a message. */
  ask(): void {
    this.asked = true;
    if (this.role === 'worker') this.#child.kill('SIGTERM');
    else this.#send('stop');
  }

  /** Has it do something to a processor. Resolves with `gone` if the process ends before it answers. */
  steer(steering: Steering): Promise<Answer> {
    const id = ++this.#count;
    if (!this.isAlive) return Promise.resolve({ id, outcome: 'gone' });
    return new Promise((resolve) => {
      this.#questions.set(id, (answer) => {
        this.#questions.delete(id);
        resolve(answer);
      });
      this.#send({ id, steering });
    });
  }

  #send(order: Order): void {
    if (this.#child.connected) this.#child.send(order);
  }
}
