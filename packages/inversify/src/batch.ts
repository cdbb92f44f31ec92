import { AsyncLocalStorage } from 'node:async_hooks';
import { DefinitionError, type StateUnit, type Transport } from '@refold/core';
import type { ServiceIdentifier } from 'inversify';

/** What injected handlers and transports find while a batch is handled. */
export interface Batch {
  readonly unit: StateUnit | undefined;
  /** The instance of a handler, the same for the whole batch. */
  instanceOf(identifier: ServiceIdentifier): Promise<object>;
  /** The transport of the container. */
  transport(identifier: ServiceIdentifier<Transport>): Promise<Transport>;
}

const running = new AsyncLocalStorage<Batch>();

/** Runs the handlers of a batch. */
export function inBatch<Result>(batch: Batch, work: () => Promise<Result>): Promise<Result> {
  return running.run(batch, work);
}

/** The batch that is being handled. @throws DefinitionError outside of one */
export function currentBatch(subject: string): Batch {
  const batch = running.getStore();
  if (batch) return batch;
  throw new DefinitionError(
    subject,
    'there is no container here: put the definition into a refoldModule, and let its application run it',
  );
}
