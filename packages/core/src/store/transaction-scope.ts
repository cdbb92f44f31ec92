import { AsyncLocalStorage } from 'node:async_hooks';
import { InvalidArgumentError, NestedTransactionError, TransactionEndedError } from '../errors.js';
import { Mutex } from './mutex.js';

/** Whether a transaction's callback still runs; a store may keep more of its transactions here. */
export interface TransactionScope {
  open: boolean;
}

interface RunningTransaction<Scope extends TransactionScope> {
  readonly scope: Scope;
  /** Appends in one transaction take turns: each is undone alone if it fails. */
  readonly turns: Mutex;
}

/** What runs in the callback of a transaction, and in whose of which store it was begun. */
interface Running {
  readonly owner: object;
  readonly scope: TransactionScope;
  readonly outer: Running | undefined;
}

/** One for all stores, since every such storage makes every promise of the process a little slower, for good. */
const running = new AsyncLocalStorage<Running>();

/** Knows which calls come from inside a transaction's callback, and which units are of its store; one for each store. */
export class TransactionScopes<Scope extends TransactionScope = TransactionScope> {
  readonly #units = new WeakMap<object, RunningTransaction<Scope>>();

  /** @throws NestedTransactionError when called from inside a transaction's callback, other than that of `own` */
  checkNotNested(call: string, own?: Scope): void {
    const current = this.#current();
    if (current?.open && current !== own) throw new NestedTransactionError(call);
  }

  /** Runs a user's callback with a scope that is open as long as it runs. */
  async run<Result>(scope: Scope, work: (scope: Scope) => Promise<Result>): Promise<Result> {
    try {
      return await running.run({ owner: this, scope, outer: running.getStore() }, () => work(scope));
    } finally {
      scope.open = false;
    }
  }

  /** Runs a transaction's callback; its unit is one that `within` takes. It ends when all that began in it has. */
  async transaction<Unit extends object, Result>(
    scope: Scope,
    unit: Unit,
    work: (unit: Unit) => Promise<Result>,
  ): Promise<Result> {
    const turns = new Mutex();
    this.#units.set(unit, { scope, turns });
    try {
      return await this.run(scope, () => work(unit));
    } finally {
      await turns.run(() => undefined);
    }
  }

  /**
   * Runs a call that takes part in the transaction of a unit, after those that were asked for before.
   * @throws InvalidArgumentError for a unit of another store, TransactionEndedError, NestedTransactionError
   */
  async within<Result>(unit: object, call: string, work: (scope: Scope) => Promise<Result>): Promise<Result> {
    const known = this.#units.get(unit);
    if (!known) {
      throw new InvalidArgumentError('transaction', unit, 'must be the unit of a transaction of this store');
    }
    const { scope, turns } = known;
    checkOpen(scope);
    this.checkNotNested(call, scope);
    return turns.run(() => {
      checkOpen(scope);
      return work(scope);
    });
  }

  /** The innermost scope of this store. */
  #current(): Scope | undefined {
    let one = running.getStore();
    while (one && one.owner !== this) one = one.outer;
    // What this store has begun has scopes of its kind.
    return one?.scope as Scope | undefined;
  }
}

/** Refuses to go on with a transaction whose callback has ended. @throws TransactionEndedError */
export function checkOpen(scope: TransactionScope): void {
  if (!scope.open) throw new TransactionEndedError();
}
