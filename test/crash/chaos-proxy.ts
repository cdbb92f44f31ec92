import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Passes connections on to a server, until the network between them is cut. */
export class ChaosProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(target: URL) {
    this.#server = createServer((client) => {
      if (this.#isCut) return void client.destroy();
      const server = connect(Number(target.port), target.hostname);
      this.#join(client, server);
      this.#join(server, client);
    });
  }

  /** A proxy on loopback before the server of an address. */
  static async before(address: string): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(new URL(address));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** An address, with this proxy in the place of its server. */
  through(address: string): string {
    const own = new URL(address);
    own.hostname = '127.0.0.1';
    own.port = String((this.#server.address() as AddressInfo).port);
    return own.href;
  }

  /** Ends all connections and lets nobody through for a while. */
  cut(ms: number): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
    setTimeout(() => (this.#isCut = false), ms);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.setNoDelay();
    from.pipe(to);
    from
      .on('error', () => {})
      .on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
  }
}
