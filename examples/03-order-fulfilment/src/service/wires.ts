import type { ReceivedMessage, Transport } from '@refold/core';
import type { ServiceIdentifier } from 'inversify';
import type { ServiceName, WireConfig } from './config.js';

/** Identifies the transport that leads to a service. */
export function wireTo(service: ServiceName): ServiceIdentifier<Transport> {
  return Symbol.for(`wire to ${service}`);
}

/** Something that takes messages until it is closed. */
export interface Intake {
  close(): Promise<void>;
}

/** Handles a message, which is acknowledged when the promise resolves, and comes again if it rejects. */
export type HandleMessage = (message: ReceivedMessage) => Promise<unknown>;

/** One way in which services reach each other. */
export interface Wire {
  /** A transport whose messages a service takes in. */
  transportTo(service: ServiceName): Transport;
  /** Takes in the messages for a service. */
  openIntake(service: ServiceName, handle: HandleMessage): Promise<Intake>;
}

/** The wire that is asked for. Its packages are loaded only then. */
export async function wireOf(config: WireConfig): Promise<Wire> {
  switch (config.kind) {
    case 'webhook':
      return (await import('./wires/webhook.js')).webhooks(config);
    case 'rabbitmq':
      return (await import('./wires/rabbitmq.js')).queues(config);
    case 'kafka':
      return (await import('./wires/kafka.js')).topics(config);
  }
}
