import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import postgres from 'postgres';
import type { Database } from './connection.js';

/** What sessions are opened with: options as the driver has read them. */
export type ClientOptions = postgres.Sql['options'];

export interface SessionOptions {
  readonly onNotification?: (channel: string, payload: string) => void;
  /** Called once, when its connection has ended. */
  readonly onEnd?: () => void;
}

/**
 * One connection to the server, from its making to its end. The driver makes a connection that broke again by itself:
 * statements of the transaction that broke may then run outside of it, and what it kept of the old connection can hang the
 * new one or end the process (porsager/postgres, issues 1154, 1208 and 1216). So a session is a client of its own, whose
 * connection is made once; whatever is sent after its end fails.
 */
export class Session {
  /** The driver's client, with this connection alone. */
  readonly sql: postgres.Sql;
  readonly openedAt = Date.now();
  readonly #client: ClientOptions;
  readonly #onEnd: (() => void) | undefined;
  #socket: Socket | undefined;
  #hostsTried = 0;
  #isOpen = false;
  #ending: Promise<void> | undefined;

  constructor(client: ClientOptions, { onNotification, onEnd }: SessionOptions = {}) {
    this.#client = client;
    this.#onEnd = onEnd;
    const { host, port, onclose, ...rest } = client;
    // How long it lives is up to its owner: the driver would end it in the pauses of a transaction.
    const typed = {
      ...rest,
      pass: undefined,
      max: 1,
      fetch_types: false,
      idle_timeout: 0,
      max_lifetime: null,
    };
    // What the driver's types leave out, or have as it is before it was read. Which of several hosts is tried, is decided here.
    const others = { pass: client.pass, host: host.slice(0, 1), port: port.slice(0, 1) };
    const hooks = {
      onnotify: onNotification,
      socket: () => this.#connect(),
      onclose: (id: number) => {
        onclose?.(id);
        this.#onClose();
      },
    };
    this.sql = postgres(
      Object.assign<postgres.Options<Record<string, postgres.PostgresType>>, object>(typed, {
        ...others,
        ...hooks,
      }),
    );
  }

  /** Makes the connection. Nothing was sent before. */
  async open(): Promise<void> {
    await this.sql.unsafe('select 1');
    this.#isOpen = true;
    if (this.isLost) throw new ConnectionLostError();
  }

  /** Whether its connection is gone, or about to be. */
  get isLost(): boolean {
    return this.#ending !== undefined || (this.#socket?.destroyed ?? false);
  }

  /** Ends it; what it does has so many seconds to finish. */
  end(seconds = 0): Promise<void> {
    return (this.#ending ??= this.sql.end({ timeout: seconds }));
  }

  /** The driver asks for a connection: at first, while a host does not do, and whenever something is sent after the end. */
  async #connect(): Promise<Socket> {
    const { host, port, path, connect_timeout: seconds } = this.#client;
    let failure: unknown = new ConnectionLostError();
    while (!this.#isOpen && !this.#ending && this.#hostsTried < host.length) {
      const at = this.#hostsTried++;
      const to = path ? { path } : { host: host[at], port: port[at] ?? port[0] ?? 5432, noDelay: true };
      try {
        const socket = await connected(connect(to), 1000 * (seconds || 30));
        // For TLS the driver takes the host's name from here.
        return (this.#socket = Object.assign(socket, { host: host[at] }));
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  #onClose(): void {
    void this.end();
    this.#onEnd?.();
  }
}

/** A session has ended before its statement. */
export class ConnectionLostError extends Error {
  readonly code = 'CONNECTION_CLOSED';

  constructor(cause?: unknown) {
    super('The connection to the database is closed', { cause });
  }
}

/** Options of clients to be: from an address, options, or a client, which is not touched. Nothing is connected. */
export function clientOptions(database: Database | postgres.Sql): ClientOptions {
  if (typeof database === 'function') return database.options;
  const defaults = { onnotice: () => {} };
  const name = { application_name: 'refold' };
  if (typeof database === 'string') return postgres(database, { ...defaults, connection: name }).options;
  return postgres({ ...defaults, ...database, connection: { ...name, ...database.connection } }).options;
}

async function connected(socket: Socket, timeoutMs: number): Promise<Socket> {
  const timeout = setTimeout(() => {
    const error = new Error(`The server did not accept the connection within ${timeoutMs} ms`);
    socket.destroy(Object.assign(error, { code: 'CONNECT_TIMEOUT' }));
  }, timeoutMs);
  try {
    await once(socket, 'connect');
    return socket;
  } finally {
    clearTimeout(timeout);
  }
}
