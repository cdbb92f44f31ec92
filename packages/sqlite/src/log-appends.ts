import {
  GroupCommit,
  type AppendResult,
  type InlineHook,
  type PreparedAppend,
  type Settled,
} from '@refold/core';
import { TransactionUndoneError } from './errors.js';
import type { LogWrites, Tip } from './log-writes.js';
import type { SqliteUnit } from './sqlite-unit.js';
import { checkOpen, type SqliteScope, type Writer } from './writer.js';

/** The appends of one caller, which happen together or not at all. */
export interface AppendRequest {
  readonly appends: readonly PreparedAppend[];
  readonly inline: InlineHook<SqliteUnit> | undefined;
}

export interface LogAppendsOptions {
  readonly writer: Writer;
  readonly writes: LogWrites;
  /** Runs a hook's callback with a unit of the transaction that is under way. */
  readonly withUnit: (work: (unit: SqliteUnit) => Promise<void>) => Promise<void>;
  /** Told the head of the log after every commit. */
  readonly onCommit: (head: number) => void;
}

/** Appends in groups, one transaction each; a request that fails is undone alone. */
export class LogAppends {
  readonly #writer: Writer;
  readonly #writes: LogWrites;
  readonly #withUnit: LogAppendsOptions['withUnit'];
  readonly #onCommit: (head: number) => void;
  readonly #groups: GroupCommit<AppendRequest, AppendResult[]>;

  constructor({ writer, writes, withUnit, onCommit }: LogAppendsOptions) {
    this.#writer = writer;
    this.#writes = writes;
    this.#withUnit = withUnit;
    this.#onCommit = onCommit;
    this.#groups = new GroupCommit((requests) => this.#commit(requests), {
      weight: ({ appends }) => appends.reduce((sum, { events }) => sum + events.length, 1),
    });
  }

  submit(request: AppendRequest): Promise<AppendResult[]> {
    return this.#groups.submit(request);
  }

  /** Appends inside a transaction that is open; what fails is undone for this append alone. */
  async within(scope: SqliteScope, request: AppendRequest): Promise<AppendResult[]> {
    checkOpen(scope);
    const tip = this.#writes.tip();
    const { appends } = request;
    const inline = appends.some(({ events }) => events.length > 0) ? request.inline : undefined;
    const outcome = await this.#attempt({ appends, inline }, tip);
    if ('error' in outcome) throw outcome.error;
    scope.head = tip.position;
    return outcome.value;
  }

  /** Resolves when nothing waits and nothing is in flight. */
  idle(): Promise<void> {
    return this.#groups.idle();
  }

  async #commit(requests: readonly AppendRequest[]): Promise<readonly Settled<AppendResult[]>[]> {
    try {
      return await this.#commitTogether(requests);
    } catch (error) {
      if (!(error instanceof TransactionUndoneError)) throw error;
      if (requests.length > 1) return this.#commitOneByOne(requests);
      return [{ error: error.cause ?? error }];
    }
  }

  /** When one request has cost the whole group its transaction, the others still have theirs. */
  async #commitOneByOne(requests: readonly AppendRequest[]): Promise<Settled<AppendResult[]>[]> {
    const outcomes: Settled<AppendResult[]>[] = [];
    for (const request of requests) {
      outcomes.push(...(await this.#commit([request]).catch((error: unknown) => [{ error }])));
    }
    return outcomes;
  }

  async #commitTogether(requests: readonly AppendRequest[]): Promise<Settled<AppendResult[]>[]> {
    const { outcomes, head } = await this.#writer.transaction(async () => {
      const tip = this.#writes.tip();
      const outcomes: Settled<AppendResult[]>[] = [];
      for (const request of requests) {
        const outcome = this.#attempt(request, tip);
        outcomes.push(outcome instanceof Promise ? await outcome : outcome);
      }
      return { outcomes, head: tip.position };
    });
    this.#onCommit(head);
    return outcomes;
  }

  /** Writes one request; what fails is undone for this request alone. Synchronous unless there is an inline hook. */
  #attempt(request: AppendRequest, tip: Tip): Settled<AppendResult[]> | Promise<Settled<AppendResult[]>> {
    const { appends, inline } = request;
    const before = tip.position;
    // One insert that fails leaves nothing behind; anything more needs a savepoint.
    const guarded = inline !== undefined || appends.length > 1 || (appends[0]?.events.length ?? 0) > 1;
    if (guarded) this.#writes.savepoint();
    const undo = (error: unknown): Settled<AppendResult[]> => {
      this.#writer.checkKept(error);
      if (guarded) this.#writes.rollback();
      tip.position = before;
      return { error };
    };
    try {
      const results = appends.map((append) =>
        append.events.length > 0 ? this.#writes.write(append, tip) : this.#writes.current(append.stream),
      );
      if (inline) {
        return this.#runInline(request, results, tip, inline).then(() => this.#keep(results), undo);
      }
      return guarded ? this.#keep(results) : { value: results };
    } catch (error) {
      return this.#settle(appends, undo(error));
    }
  }

  #keep(results: AppendResult[]): Settled<AppendResult[]> {
    this.#writer.checkKept();
    this.#writes.release();
    return { value: results };
  }

  /** A failed append may be the repeat of one that succeeded: then its outcome is that one's. */
  #settle(appends: readonly PreparedAppend[], failed: Settled<AppendResult[]>): Settled<AppendResult[]> {
    try {
      const earlier = this.#writes.earlierResults(appends);
      return earlier ? { value: earlier } : failed;
    } catch (error) {
      return { error };
    }
  }

  async #runInline(
    { appends }: AppendRequest,
    results: readonly AppendResult[],
    tip: Tip,
    inline: InlineHook<SqliteUnit>,
  ): Promise<void> {
    const events = appends.flatMap((append, index) => {
      const result = results[index];
      return result ? this.#writes.written(append, result, tip) : [];
    });
    await this.#withUnit((unit) => inline(events, unit));
  }
}
