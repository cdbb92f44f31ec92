import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { MessageReader, StatementReader, statusIn, type Message } from './wire.js';

/** Where a connection is cut. */
export type Cut =
  /** Before the statement reaches the server. */
  | 'request'
  /** When the server has answered that it is done, and before the client reads a byte of that. */
  | 'answer'
  /** When the statement is on its way to the server, which goes on with it. */
  | 'between';

/** What happens to those who connect while the database is away. */
export type Outage =
  /** Nobody listens. */
  | 'refusing'
  /** Their connection is made and ended, as a balancer without servers does. */
  | 'hanging up'
  /** Their connection is made and nobody speaks. */
  | 'silent';

interface Rule {
  readonly cut: Cut;
  readonly statement: RegExp;
  readonly then: Outage | undefined;
  left: number;
  done: number;
}

/** Stands between clients and a PostgreSQL server, cuts connections at the statement that a test names, and counts statements. */
export class CuttingProxy {
  /** Every statement that clients have sent, in order. */
  readonly statements: string[] = [];
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  readonly #rules: Rule[] = [];
  #outage: Outage | undefined;
  #port = 0;

  private constructor(target: URL) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: false }, (client) => this.#accept(client));
  }

  /** A proxy on loopback before the server of an address. */
  static async before(address: string): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(new URL(address));
    await proxy.#listen();
    return proxy;
  }

  /** The address of the database, through this proxy. */
  get address(): string {
    const address = new URL(this.#target);
    address.hostname = '127.0.0.1';
    address.port = String(this.#port);
    return address.href;
  }

  /** Cuts the connections of the next statements that match; then, if told so, takes the database away. */
  cut(
    cut: Cut,
    statement: RegExp,
    { times = 1, then }: { times?: number; then?: Outage } = {},
  ): () => number {
    const rule: Rule = { cut, statement, then, left: times, done: 0 };
    this.#rules.push(rule);
    return () => rule.done;
  }

  /** Ends all connections, or leaves them without answers, and lets nobody in. */
  goAway(outage: Outage): void {
    this.#outage = outage;
    if (outage === 'refusing') this.#server.close();
    for (const socket of this.#sockets) {
      if (outage === 'silent') socket.removeAllListeners('data');
      else socket.destroy();
    }
  }

  async comeBack(): Promise<void> {
    const listening = this.#outage !== 'refusing';
    this.#outage = undefined;
    // Those who connected meanwhile were never let through.
    for (const socket of this.#sockets) socket.destroy();
    if (!listening) await this.#listen();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #accept(client: Socket): void {
    this.#keep(client);
    if (this.#outage === 'hanging up') client.destroy();
    if (this.#outage) return;
    const server = connect(Number(this.#target.port), this.#target.hostname);
    this.#keep(server);
    new Passage(client, server, {
      onStatement: (sql) => this.#onStatement(sql),
      onCut: (rule) => this.#onCut(rule),
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay();
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
  }

  #onStatement(sql: string): Rule | undefined {
    this.statements.push(sql);
    const rule = this.#rules.find(({ left, statement }) => left > 0 && statement.test(sql));
    if (rule) rule.left -= 1;
    return rule;
  }

  #onCut(rule: Rule): void {
    rule.done += 1;
    if (rule.then) this.goAway(rule.then);
  }
}

interface PassageOptions {
  readonly onStatement: (sql: string) => Rule | undefined;
  readonly onCut: (rule: Rule) => void;
}

/** One connection. */
class Passage {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #options: PassageOptions;
  readonly #statements = new StatementReader();
  /** What happens to the answer that is due. */
  #pending: Rule | undefined;

  constructor(client: Socket, server: Socket, options: PassageOptions) {
    this.#client = client;
    this.#server = server;
    this.#options = options;
    const [fromClient, fromServer] = [new MessageReader('client'), new MessageReader('server')];
    client.on('data', (chunk: Buffer) => {
      for (const message of fromClient.read(chunk)) if (!client.destroyed) this.#request(message);
    });
    server.on('data', (chunk: Buffer) => {
      for (const message of fromServer.read(chunk)) if (!client.destroyed) this.#answer(message);
    });
    // The server still gets what was written, and ends the connection by itself.
    client.on('close', () => server.end());
    server.on('close', () => client.destroy());
  }

  #request(message: Message): void {
    const sql = this.#statements.read(message);
    const rule = sql === undefined ? undefined : this.#options.onStatement(sql);
    if (rule?.cut === 'request') return this.#end(rule);
    this.#pending ??= rule;
    this.#server.write(message.raw);
    // Complete is a request with its Sync; a simple query is one message.
    if (this.#pending?.cut === 'between' && (message.type === 'S' || message.type === 'Q')) {
      this.#end(this.#pending);
    }
  }

  #answer(message: Message): void {
    if (!this.#pending) this.#client.write(message.raw);
    else if (statusIn(message)) this.#end(this.#pending);
  }

  #end(rule: Rule): void {
    this.#client.destroy();
    this.#options.onCut(rule);
  }
}
