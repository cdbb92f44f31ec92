import type { Message, SendResult, Subscription, ExactlyOnceSender, Transport } from '@refold/core';
import type { ServiceIdentifier } from 'inversify';
import { currentBatch } from './batch.js';

/** How long an instance lives that handles events: as long as the container, or for one batch. */
export type HandlerScope = 'singleton' | 'batch';

/** How an injected handler is made. */
export interface InjectedOptions {
  /**
   * Where the container has no binding for the class, it is bound so: one instance (default), or one for every batch, along
   * with what it asks for that is bound in request scope. A binding of its own says so itself.
   */
  readonly scope?: HandlerScope;
}

/** A method of a class as a function of its own. */
export type InjectedMethod<Method> = Method extends (...args: infer Args) => infer Result
  ? (...args: Args) => Promise<Awaited<Result>>
  : never;

/** The names of the methods of a class. */
export type MethodName<Handler> = {
  [Name in keyof Handler]: Handler[Name] extends (...args: never[]) => unknown ? Name : never;
}[keyof Handler];

/** What an injected handler asks the container for. */
export interface HandlerUse {
  readonly identifier: ServiceIdentifier<object>;
  readonly scope: HandlerScope;
}

const uses = new WeakMap<object, HandlerUse>();

/** What a handler that `injected` made asks the container for; undefined for any other function. */
export function useOf(handler: unknown): HandlerUse | undefined {
  return typeof handler === 'function' ? uses.get(handler) : undefined;
}

/**
 * Lets a method of a class in the container handle events, wherever a definition takes an asynchronous handler:
 * `delivery('mails').on(OrderPlaced, injected(Mailer, 'welcome'))`. Without a name it is the method `handle`.
 */
export function injected<Handler extends { handle: unknown }>(
  handler: ServiceIdentifier<Handler>,
): InjectedMethod<Handler['handle']>;
export function injected<Handler extends object, Name extends MethodName<Handler>>(
  handler: ServiceIdentifier<Handler>,
  method: Name,
  options?: InjectedOptions,
): InjectedMethod<Handler[Name]>;
export function injected(
  identifier: ServiceIdentifier<object>,
  method: PropertyKey = 'handle',
  { scope = 'singleton' }: InjectedOptions = {},
): (...args: unknown[]) => Promise<unknown> {
  const handler = async (...args: unknown[]): Promise<unknown> => {
    const subject = `injected(${nameOf(identifier)})`;
    const instance = await currentBatch(subject).instanceOf(identifier);
    const found: unknown = Reflect.get(instance, method);
    if (typeof found !== 'function') throw new TypeError(`${subject} has no method ${String(method)}`);
    return Reflect.apply(found, instance, args);
  };
  uses.set(handler, { identifier, scope });
  return handler;
}

/** A transport that the container has. */
export class InjectedTransport implements Transport {
  readonly name: string;
  readonly supports: Transport['supports'];
  readonly identifier: ServiceIdentifier<Transport>;

  constructor(identifier: ServiceIdentifier<Transport>, supports: Transport['supports']) {
    this.name = nameOf(identifier);
    this.supports = supports;
    this.identifier = identifier;
  }

  async send(batch: readonly Message[], signal: AbortSignal): Promise<SendResult> {
    return (await this.#own()).send(batch, signal);
  }

  async open(subscription: Subscription, signal: AbortSignal): Promise<ExactlyOnceSender> {
    const transport = await this.#own();
    if (!transport.open) throw new TypeError(`${transport.name} cannot send exactly once`);
    return transport.open(subscription, signal);
  }

  /** The module closes what it has resolved. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  #own(): Promise<Transport> {
    return currentBatch(`injectedTransport(${this.name})`).transport(this.identifier);
  }
}

/**
 * Lets a delivery send by a transport in the container, which may be made asynchronously:
 * `delivery('orders_out', { transport: injectedTransport(Broker) })`. It is resolved once, when the application starts, and
 * closed with it. `exactlyOnce` says that it can do that, see `TransportSupports`.
 */
export function injectedTransport(
  identifier: ServiceIdentifier<Transport>,
  { exactlyOnce = false }: Partial<Transport['supports']> = {},
): Transport {
  return new InjectedTransport(identifier, { exactlyOnce });
}

/** The name of an identifier in messages. */
export function nameOf(identifier: ServiceIdentifier): string {
  if (typeof identifier === 'function') return identifier.name;
  return typeof identifier === 'symbol' ? (identifier.description ?? 'a symbol') : identifier;
}
