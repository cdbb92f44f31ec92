import { TransportUnavailableError } from '@refold/core';
import { connect, type ChannelModel, type ConfirmChannel, type Channel, type SocketOptions } from 'amqplib';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { declareOn, type RabbitmqTopology } from './topology.js';

/** Where the broker is, and what has to be there. */
export interface RabbitmqConnectionOptions {
  /**
   * `amqp://user:password@host:5672/vhost`, or `amqps://…`; several for the nodes of a cluster, which are tried in turn.
   * The query may hold `heartbeat` (seconds) and `frameMax`.
   */
  readonly url: string | readonly string[];
  /** For `amqps:`, as in Node's `tls.connect`. */
  readonly tls?: TlsOptions;
  /** How long a connection may take to be made. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** What is declared whenever a connection is made: it is created where it is missing. Default: nothing. */
  readonly topology?: RabbitmqTopology;
}

/** How long the broker is given to say goodbye. */
const CLOSE_MS = 2_000;
/** The pauses between attempts to connect: they double from the first to the last. */
const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 1_000;

/** One connection to a broker, from when it is made to its end: it is never mended. */
export class BrokerConnection {
  readonly #subject: string;
  readonly #model: ChannelModel;
  readonly #socket: AbortController;
  /** Resolves when it has ended, however it did. */
  readonly ended: Promise<void>;
  #isOpen = true;
  #reason: unknown;
  #blocked: string | undefined;
  #onUnblocked = (): void => {};

  private constructor(subject: string, model: ChannelModel, socket: AbortController) {
    this.#subject = subject;
    this.#model = model;
    this.#socket = socket;
    // Without a listener, an error would end the process.
    model.on('error', (error) => (this.#reason ??= error));
    model.on('blocked', (reason) => (this.#blocked = reason));
    model.on('unblocked', () => {
      this.#blocked = undefined;
      this.#onUnblocked();
    });
    this.ended = new Promise((resolve) => {
      model.on('close', (error) => {
        this.#reason ??= error;
        this.#isOpen = false;
        resolve();
      });
    });
  }

  /** @throws TransportUnavailableError if it cannot be made, or the topology cannot be declared */
  static async open(
    subject: string,
    url: string,
    { tls, connectTimeoutMs = 10_000, topology }: RabbitmqConnectionOptions,
  ): Promise<BrokerConnection> {
    const socket = new AbortController();
    const options: SocketOptions & { signal: AbortSignal } = {
      ...tls,
      noDelay: true,
      keepAlive: true,
      timeout: connectTimeoutMs,
      clientProperties: { connection_name: `refold ${subject}` },
      signal: socket.signal,
    };
    let connection: BrokerConnection;
    try {
      connection = new BrokerConnection(subject, await connect(url, options), socket);
    } catch (cause) {
      socket.abort();
      throw new TransportUnavailableError(subject, `cannot connect: ${reasonOf(cause)}`, { cause });
    }
    try {
      if (topology) await connection.#declare(topology);
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Why it has ended, as far as it is known. */
  get reason(): unknown {
    return this.#reason;
  }

  /** Why the broker takes no messages at the moment: `low on memory`; undefined while it does. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** Calls back whenever the broker takes messages again. */
  onUnblocked(callback: () => void): void {
    this.#onUnblocked = callback;
  }

  channel(): Promise<Channel> {
    return this.#opening((model) => model.createChannel());
  }

  confirmChannel(): Promise<ConfirmChannel> {
    return this.#opening((model) => model.createConfirmChannel());
  }

  /** Ends it at once, whatever is on its way. */
  cut(reason: string): void {
    this.#reason ??= new Error(reason);
    this.#socket.abort();
  }

  /** Says goodbye to the broker, if it listens. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    const timer = setTimeout(() => this.cut('the broker did not say goodbye'), CLOSE_MS);
    try {
      // The client's own promise stays open for ever if the connection ends before the broker has answered.
      await Promise.race([this.#model.close(), this.ended]);
    } catch {
      // It has ended by itself meanwhile.
    }
    clearTimeout(timer);
    // A broker that blocks reads no goodbye: the socket would stay.
    if (this.#blocked !== undefined) this.#socket.abort();
  }

  async #opening<Opened extends Channel>(open: (model: ChannelModel) => Promise<Opened>): Promise<Opened> {
    try {
      const channel = await open(this.#model);
      channel.on('error', () => {});
      return channel;
    } catch (cause) {
      const reason = reasonOf(this.#reason ?? cause);
      throw new TransportUnavailableError(this.#subject, `cannot open a channel: ${reason}`, { cause });
    }
  }

  async #declare(topology: RabbitmqTopology): Promise<void> {
    const channel = await this.channel();
    try {
      await declareOn(channel, topology);
      await channel.close();
    } catch (cause) {
      const reason = `cannot declare its topology: ${reasonOf(cause)}`;
      throw new TransportUnavailableError(this.#subject, reason, { cause });
    }
  }
}

/** Makes connections one after the other, to one node after the other, with short pauses behind attempts that fail. */
export class Connector {
  readonly #subject: string;
  readonly #options: RabbitmqConnectionOptions;
  readonly #urls: readonly string[];
  #attempts = 0;
  #failed = 0;
  #failedAt = 0;

  constructor(subject: string, options: RabbitmqConnectionOptions) {
    this.#subject = subject;
    this.#options = options;
    this.#urls = typeof options.url === 'string' ? [options.url] : options.url;
  }

  /** @throws TransportUnavailableError */
  async connect(signal?: AbortSignal): Promise<BrokerConnection> {
    await this.#pause(signal);
    const url = this.#urls[this.#attempts++ % this.#urls.length] ?? '';
    try {
      const connection = await BrokerConnection.open(this.#subject, url, this.#options);
      this.#failed = 0;
      return connection;
    } catch (error) {
      this.#failed += 1;
      this.#failedAt = performance.now();
      throw error;
    }
  }

  async #pause(signal?: AbortSignal): Promise<void> {
    if (this.#failed === 0) return;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (this.#failed - 1), LAST_PAUSE_MS);
    const left = this.#failedAt + pause - performance.now();
    if (left > 0) await sleep(left, undefined, { signal }).catch(() => undefined);
    if (signal?.aborted) throw new TransportUnavailableError(this.#subject, 'told to stop');
  }
}

/** What the broker or the network says, without the client's wrapping. */
export function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return typeof cause === 'string' ? cause : 'the connection was closed';
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0]);
  return /with message "(.*)"$/s.exec(cause.message)?.[1] ?? cause.message;
}

/** The reply code of the protocol, where an error has one: 404 for what is not there. */
export function replyCodeOf(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'number' ? code : undefined;
}

/** Replies that another attempt does not change. */
const REFUSALS = new Set([403, 404, 405, 406]);

/** What sounds like a refusal while a node begins to run; and a stream may have its copies on other nodes of the cluster. */
const NOT_YET = /home node .* is down or inaccessible|does not have a replica on the local node/;

/** Whether the broker has refused what it was asked, so that asking again is pointless. */
export function isRefusal(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!REFUSALS.has(replyCodeOf(error) ?? replyCodeOf(cause) ?? 0)) return false;
  return ![error, cause].some((one) => one instanceof Error && NOT_YET.test(one.message));
}
