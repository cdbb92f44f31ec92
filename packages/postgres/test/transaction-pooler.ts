import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { MessageReader, statusIn, type Message } from './wire.js';

/** What a client may send before its startup message: whether it may speak TLS. */
const SSL_REQUEST = 80_877_103;

/** The server says that the client is who it says. */
const AUTHENTICATION_OK = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/**
 * Shares few connections to a server among many clients, as PgBouncer does in transaction mode: a client has one from its
 * first message to the end of its transaction, and mostly another one for the next.
 */
export class TransactionPooler {
  readonly #server: Server;
  readonly #target: URL;
  readonly #size: number;
  readonly #sockets = new Set<Socket>();
  readonly #idle: Backend[] = [];
  readonly #waiting: ((backend: Backend) => void)[] = [];
  #backends = 0;
  /** What a backend has said of itself at first, for clients that get one which others have made. */
  #greeting: Buffer | undefined;

  private constructor(target: URL, size: number) {
    this.#target = target;
    this.#size = size;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async before(address: string, { size }: { readonly size: number }): Promise<TransactionPooler> {
    const pooler = new TransactionPooler(new URL(address), size);
    pooler.#server.listen(0, '127.0.0.1');
    await once(pooler.#server, 'listening');
    return pooler;
  }

  /** The address of the database, through this pooler. */
  get address(): string {
    const address = new URL(this.#target);
    address.hostname = '127.0.0.1';
    address.port = String((this.#server.address() as AddressInfo).port);
    return address.href;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    this.#keep(client);
    const messages = new MessageReader('client');
    const served = new Client(
      client,
      (use) => this.#lend(use),
      (backend) => this.#return(backend),
    );
    let greeted = false;
    client.on('data', (chunk: Buffer) => {
      for (const message of messages.read(chunk)) {
        if (message.type !== '' || greeted) served.request(message);
        else if (message.raw.readUInt32BE(4) === SSL_REQUEST) throw new Error('This pooler speaks no TLS');
        else {
          greeted = true;
          this.#greet(client, message, served);
        }
      }
    });
    client.on('close', () => served.end());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay();
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
  }

  /** As long as there may be more backends, a new client makes one: it can say the password. */
  #greet(client: Socket, startup: Message, served: Client): void {
    if (this.#backends >= this.#size && this.#greeting) {
      client.write(Buffer.concat([AUTHENTICATION_OK, this.#greeting, READY]));
      return;
    }
    this.#backends += 1;
    const socket = connect(Number(this.#target.port), this.#target.hostname);
    this.#keep(socket);
    const backend = new Backend(socket);
    socket.write(startup.raw);
    served.use(backend);
    const greeting: Buffer[] = [];
    backend.onMessage = (message) => {
      client.write(message.raw);
      // What it says of itself: its parameters, and by which key its statements are cancelled.
      if (message.type === 'S' || message.type === 'K') greeting.push(message.raw);
      if (!statusIn(message)) return;
      this.#greeting = Buffer.concat(greeting);
      served.leave();
    };
  }

  #lend(use: (backend: Backend) => void): void {
    const backend = this.#idle.shift();
    if (backend) use(backend);
    else this.#waiting.push(use);
  }

  /** The one that has rested for longest is next, so that a client rarely gets the same one again. */
  #return(backend: Backend): void {
    const next = this.#waiting.shift();
    if (next) next(backend);
    else this.#idle.push(backend);
  }
}

/** A connection to the server. */
class Backend {
  readonly socket: Socket;
  onMessage: (message: Message) => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    const messages = new MessageReader('server');
    socket.on('data', (chunk: Buffer) => {
      for (const message of messages.read(chunk)) this.onMessage(message);
    });
  }
}

/** A client, with the backend that it has for now. */
class Client {
  readonly #socket: Socket;
  readonly #lend: (use: (backend: Backend) => void) => void;
  readonly #return: (backend: Backend) => void;
  readonly #queue: Message[] = [];
  #backend: Backend | undefined;
  #asking = false;
  /** Answers that are due: one for each Sync and each simple query. */
  #due = 0;
  /** Whether there were messages after the last Sync. */
  #unsynced = false;

  constructor(
    socket: Socket,
    lend: (use: (backend: Backend) => void) => void,
    giveBack: (backend: Backend) => void,
  ) {
    this.#socket = socket;
    this.#lend = lend;
    this.#return = giveBack;
  }

  request(message: Message): void {
    // Terminate is for the pooler alone.
    if (message.type === 'X') return;
    this.#queue.push(message);
    if (this.#backend) this.#forward();
    else if (!this.#asking) {
      this.#asking = true;
      this.#lend((backend) => this.use(backend));
    }
  }

  use(backend: Backend): void {
    this.#asking = false;
    this.#backend = backend;
    backend.onMessage = (message) => this.#answer(message);
    if (this.#socket.destroyed) this.leave();
    else this.#forward();
  }

  /** Gives the backend back, and asks for another if there is more to do. */
  leave(): void {
    const backend = this.#backend;
    if (!backend) return;
    this.#backend = undefined;
    backend.onMessage = () => {};
    this.#return(backend);
    const next = this.#queue.shift();
    if (next) this.request(next);
  }

  /** A client that is gone in the midst of a transaction takes its backend with it. */
  end(): void {
    if (this.#backend) this.#backend.socket.destroy();
  }

  #forward(): void {
    for (const message of this.#queue.splice(0)) {
      if (message.type === 'S' || message.type === 'Q') this.#due += 1;
      this.#unsynced = message.type !== 'S' && message.type !== 'Q';
      this.#backend?.socket.write(message.raw);
    }
  }

  #answer(message: Message): void {
    this.#socket.write(message.raw);
    const status = statusIn(message);
    if (status) this.#due -= 1;
    if (status === 'I' && this.#due === 0 && !this.#unsynced) this.leave();
  }
}
