import { AsyncLocalStorage } from 'node:async_hooks';
import { NestedTransactionError, TransactionEndedError } from '../errors.js';

/** Whether a transaction's callback still runs. */
export interface TransactionScope {
  open: boolean;
}

/** Knows which calls come from inside a transaction's callback; one for each store. */
export class TransactionScopes {
  readonly #current = new AsyncLocalStorage<TransactionScope>();

  /** @throws NestedTransactionError when called from inside a transaction's callback */
  checkNotNested(call: string): void {
    if (this.#current.getStore()?.open) throw new NestedTransactionError(call);
  }

  /** Runs a user's callback with a scope that is open as long as it runs. */
  async run<Result>(work: (scope: TransactionScope) => Promise<Result>): Promise<Result> {
    const scope = { open: true };
    try {
      return await this.#current.run(scope, () => work(scope));
    } finally {
      scope.open = false;
    }
  }
}

/** Refuses to go on with a transaction whose callback has ended. @throws TransactionEndedError */
export function checkOpen(scope: TransactionScope): void {
  if (!scope.open) throw new TransactionEndedError();
}
