import { ChangeSignal, messageOf, type Logger } from '@refold/core';
import { quote, type Schema } from './schema.js';
import { Session, type ClientOptions } from './session.js';

export interface ChangeFeedOptions {
  readonly schema: Schema;
  /** What the listening connection is opened with; undefined to poll only. */
  readonly listen: ClientOptions | undefined;
  /** How often the head is looked at while someone waits. */
  readonly pollMs: number;
  readonly head: () => Promise<number>;
  readonly logger: Logger;
}

/** How long the listening connection waits before it is opened again. */
const RELISTEN_MS = 500;

/**
 * Tells when the log has grown: by notification over one connection that is opened when somebody waits and opened again
 * whenever it breaks, and by polling for what a notification may have missed. The driver's own `listen` gives up when
 * its connection cannot be opened again at once, so it is not used.
 */
export class ChangeFeed {
  readonly #signal = new ChangeSignal();
  readonly #options: ChangeFeedOptions;
  #listener: Session | undefined;
  #polling: NodeJS.Timeout | undefined;
  #relistening: NodeJS.Timeout | undefined;
  #looking = false;
  #closed = false;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
  }

  /** The head of the log after an append of this store. */
  advance(head: number): void {
    this.#signal.advance(head);
  }

  beyond(after: number, signal?: AbortSignal): Promise<number> {
    const grown = this.#signal.beyond(after, signal);
    this.#listen();
    this.#poll();
    // What was appended before anyone listened, and whatever was missed since.
    if (this.#signal.waiting > 0) void this.#look();
    return grown;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#polling);
    clearTimeout(this.#relistening);
    this.#signal.close();
    await this.#listener?.end();
  }

  #listen(): void {
    const { listen, schema } = this.#options;
    if (!listen || this.#listener || this.#relistening || this.#closed) return;
    const session: Session = new Session(listen, {
      onNotification: (channel, payload) => {
        if (channel === schema.channel) this.#signal.advance(Number(payload));
      },
      onEnd: () => this.#relisten(session),
    });
    this.#listener = session;
    void this.#subscribe(session);
  }

  async #subscribe(session: Session): Promise<void> {
    try {
      await session.open();
      await session.sql.unsafe(`listen ${quote(this.#options.schema.channel)}`);
      await this.#look();
    } catch (error) {
      if (this.#closed) return;
      this.#options.logger.warn(`cannot listen for changes, polling for them: ${messageOf(error)}`);
      void session.end();
      this.#relisten(session);
    }
  }

  #relisten(lost: Session): void {
    if (this.#closed || this.#listener !== lost) return;
    this.#listener = undefined;
    this.#relistening = setTimeout(() => {
      this.#relistening = undefined;
      this.#listen();
    }, RELISTEN_MS);
  }

  /** Runs only while someone waits, and keeps the process alive that long. */
  #poll(): void {
    if (this.#polling || this.#closed || this.#signal.waiting === 0) return;
    this.#polling = setTimeout(() => {
      void this.#look().finally(() => {
        this.#polling = undefined;
        this.#poll();
      });
    }, this.#options.pollMs);
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      this.#signal.advance(await this.#options.head());
    } catch (error) {
      if (!this.#closed) this.#options.logger.warn(`cannot look for changes: ${messageOf(error)}`);
    } finally {
      this.#looking = false;
    }
  }
}
