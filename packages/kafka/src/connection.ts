/** What connects and disconnects: a producer, an administrating client. */
interface Connectable {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

interface Held<Client> {
  readonly client: Client;
  readonly connected: Promise<void>;
  users: number;
  discarded: boolean;
}

/**
 * One connected client that many use at once, made by the first use, and made anew after it was discarded. A discarded one is
 * disconnected when its last user has ended: before that it would connect itself again.
 */
export class Connection<Client extends Connectable> {
  readonly #make: () => Client;
  readonly #ending = new Set<Promise<unknown>>();
  #held: Held<Client> | undefined;
  #closed = false;

  constructor(make: () => Client) {
    this.#make = make;
  }

  /** Works with the client; `discards` says of an error that the client is of no use any more. @throws what `work` does */
  async use<Result>(
    work: (client: Client) => Promise<Result>,
    discards: (error: unknown) => boolean,
  ): Promise<Result> {
    if (this.#closed) throw new Error('it is closed');
    const held = this.#hold();
    held.users += 1;
    try {
      await held.connected;
      return await work(held.client);
    } catch (error) {
      if (discards(error)) this.#discard(held);
      throw error;
    } finally {
      held.users -= 1;
      if (held.discarded && held.users === 0) this.#end(held);
    }
  }

  /** Ends the client when its users have ended. Can be called more than once. */
  async close(): Promise<void> {
    this.#closed = true;
    const held = this.#held;
    if (held) {
      this.#discard(held);
      if (held.users === 0) this.#end(held);
      else await this.#unused(held);
    }
    await Promise.all(this.#ending);
  }

  #hold(): Held<Client> {
    if (this.#held) return this.#held;
    const client = this.#make();
    const connected = client.connect();
    // Whoever uses it is told.
    connected.catch(() => undefined);
    const held = { client, connected, users: 0, discarded: false };
    void connected.catch(() => this.#discard(held));
    return (this.#held = held);
  }

  #discard(held: Held<Client>): void {
    held.discarded = true;
    if (this.#held === held) this.#held = undefined;
  }

  #end({ client, connected }: Held<Client>): void {
    const ended = connected
      .catch(() => undefined)
      .then(() => client.disconnect())
      .catch(() => undefined)
      .finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }

  async #unused(held: Held<Client>): Promise<void> {
    while (held.users > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
