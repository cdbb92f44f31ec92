import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Stands between a client and a broker, and breaks their connections. */
export class Proxy {
  readonly #server = createServer((client) => this.#accept(client));
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #isSilent = false;

  private constructor(target: string) {
    this.#target = new URL(target);
  }

  static async before(target: string): Promise<Proxy> {
    const proxy = new Proxy(target);
    await proxy.mend();
    return proxy;
  }

  /** The broker's address, through this proxy. */
  get address(): string {
    const address = new URL(this.#target);
    address.port = String(this.#port);
    return address.href;
  }

  /** Ends all connections and accepts no more. */
  async break(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  /** Lets nothing through any more, and ends nothing: what is written gets no answer. */
  silence(): void {
    this.#isSilent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** Accepts connections, and lets through what they say. */
  async mend(): Promise<void> {
    this.#isSilent = false;
    if (this.#server.listening) return;
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #accept(client: Socket): void {
    const server = connect(Number(this.#target.port), this.#target.hostname);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one);
      one.on('data', (bytes) => other.write(bytes));
      one.on('error', () => {});
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      if (this.#isSilent) one.pause();
    }
  }
}
