import {
  AppendOutcomeUnknownError,
  GroupCommit,
  InvalidArgumentError,
  messageOf,
  Mutex,
  StoreBusyError,
  StoreUnavailableError,
  type AppendResult,
  type Clock,
  type InlineHook,
  type LockHolder,
  type PreparedAppend,
  type RecordedEvent,
  type Settled,
} from '@refold/core';
import type postgres from 'postgres';
import { codeOf, isConnectionError, translate, type Runner, type Sessions } from './connection.js';
import { isDuplicate, type AppendRequest, type GroupOutcome, type LogWrites } from './log-writes.js';
import type { PostgresUnit } from './postgres-unit.js';
import { Sending } from './sending.js';
import type { SessionPool } from './session-pool.js';

/** One caller's append, and what is to run in its transaction. */
export interface Request {
  readonly appends: AppendRequest;
  readonly inline: InlineHook<PostgresUnit> | undefined;
}

export interface AppenderContext {
  readonly sql: SessionPool;
  readonly writes: LogWrites;
  readonly clock: Clock;
  readonly lockTimeoutMs: number;
  readonly settleTimeoutMs: number;
  /** Runs a hook in a transaction that is open. */
  readonly runInline: (
    transaction: postgres.TransactionSql,
    work: (unit: PostgresUnit) => Promise<void>,
  ) => Promise<void>;
  readonly lockHolders: (runner: Runner) => Promise<LockHolder[]>;
  readonly onCommit: (head: number) => void;
}

type Outcome = Settled<AppendResult[]>;

/** What became of one append in a transaction, and where it left the log: 0 if it wrote nothing. */
interface Attempt {
  readonly outcome: Outcome;
  readonly head: number;
}

/**
 * Commits appends in groups: those that arrive while one group is in flight make the next, in one statement, each with an
 * outcome of its own. When the connection breaks before the answer, the group is appended again with the same event ids:
 * what was committed is found by them, so it is settled by looking and never there twice.
 */
export class Appender {
  readonly #context: AppenderContext;
  readonly #groups: GroupCommit<Request, AppendResult[]>;
  /** Appends in one transaction take turns: each is undone alone if it fails. */
  readonly #turns = new WeakMap<postgres.TransactionSql, Mutex>();

  constructor(context: AppenderContext) {
    this.#context = context;
    this.#groups = new GroupCommit((requests) => this.#commit(requests), {
      weight: ({ appends }) => appends.reduce((sum, { events }) => sum + events.length, 1),
      sameTurn: true,
    });
  }

  submit(request: Request): Promise<AppendResult[]> {
    return this.#groups.submit(request);
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.#groups.idle();
  }

  /** Appends inside a transaction of the caller's. What fails is undone for this append alone. */
  async within(
    transaction: postgres.TransactionSql,
    request: Request,
  ): Promise<{ readonly results: AppendResult[]; readonly head: number }> {
    const turns = this.#turns.get(transaction) ?? new Mutex();
    this.#turns.set(transaction, turns);
    try {
      const { outcome, head } = await turns.run(() =>
        request.inline ? this.#hookedWithin(transaction, request) : this.#plainWithin(transaction, request),
      );
      if ('error' in outcome) throw outcome.error;
      return { results: outcome.value, head };
    } catch (error) {
      throw await this.#explained(error, transaction);
    }
  }

  async #plainWithin(transaction: postgres.TransactionSql, { appends }: Request): Promise<Attempt> {
    const { writes } = this.#context;
    try {
      const { outcomes, head } = await writes.appendWithin(transaction, appends);
      const outcome = outcomes[0] ?? LOST;
      if ('value' in outcome) return { outcome, head };
      return await this.#refused(transaction, appends, outcome);
    } catch (error) {
      if (!isDuplicate(error)) throw error;
      return this.#refused(transaction, appends, { error });
    }
  }

  async #hookedWithin(transaction: postgres.TransactionSql, request: Request): Promise<Attempt> {
    return this.#inSavepoint(transaction, request, (inner) => this.#context.writes.enter(inner));
  }

  /** Requests that repeat an event id of an earlier one wait for that one's outcome. */
  async #commit(requests: readonly Request[]): Promise<readonly Outcome[]> {
    if (requests.length === 1) return this.#settle(requests);
    const { first, later } = withoutRepeats(requests);
    const outcomes = new Map<Request, Outcome>();
    const add = (group: readonly Request[], of: readonly Outcome[]): void =>
      group.forEach((request, index) => outcomes.set(request, of[index] ?? LOST));
    add(first, await this.#settle(first));
    if (later.length > 0) add(later, await this.#commit(later));
    return requests.map((request) => outcomes.get(request) ?? LOST);
  }

  /** Commits a group, again and again while it is not known what became of it. */
  async #settle(group: readonly Request[]): Promise<readonly Outcome[]> {
    const { clock, lockTimeoutMs, settleTimeoutMs } = this.#context;
    const startedAt = clock.now();
    const sending = new Sending(this.#context.sql, clock);
    for (let attempt = 1; ; attempt++) {
      try {
        const left = startedAt + settleTimeoutMs + lockTimeoutMs - clock.now();
        return await sending.within(left, () => this.#attempt(group, sending));
      } catch (error) {
        if (RETRIED.has(codeOf(error) ?? '')) continue;
        if (!isConnectionError(error)) throw await this.#explained(error, this.#context.sql);
        if (!sending.hasSent) throw new StoreUnavailableError('an append', error);
        const waited = clock.now() - startedAt;
        if (waited >= settleTimeoutMs) return group.map(({ appends }) => unknown(appends, waited, error));
        await clock.sleep(Math.min(1000, 10 * 2 ** attempt));
      }
    }
  }

  async #attempt(group: readonly Request[], sql: Sessions): Promise<readonly Outcome[]> {
    if (group.some(({ inline }) => inline)) return this.#inOneTransaction(group, sql);
    try {
      return await this.#inOneStatement(group, sql);
    } catch (error) {
      if (!isDuplicate(error)) throw error;
      return this.#besidesKnown(group, sql);
    }
  }

  async #inOneStatement(group: readonly Request[], sql: Sessions): Promise<readonly Outcome[]> {
    const { writes, onCommit } = this.#context;
    const appended = await writes.append(
      sql,
      group.map(({ appends }) => appends),
    );
    onCommit(appended.head);
    return this.#resolveRefused(group, appended.outcomes, sql);
  }

  /** Some ids are taken: settles the requests that have them, and appends the others. */
  async #besidesKnown(group: readonly Request[], sql: Sessions): Promise<readonly Outcome[]> {
    const earlier = await this.#context.writes.earlierOutcomes(
      sql,
      group.map(({ appends }) => appends),
    );
    const rest = group.filter((_, index) => !earlier[index]);
    const outcomes = rest.length > 0 ? [...(await this.#attempt(rest, sql))] : [];
    return earlier.map((outcome) => outcome ?? outcomes.shift() ?? LOST);
  }

  /** A refused append may be the repeat of one that succeeded: then its outcome is that one's. */
  async #resolveRefused(
    group: readonly Request[],
    outcomes: readonly Outcome[],
    sql: Sessions,
  ): Promise<readonly Outcome[]> {
    const refused = group.filter((_, index) => 'error' in (outcomes[index] ?? LOST));
    if (refused.length === 0) return outcomes;
    const earlier = await this.#context.writes.earlierOutcomes(
      sql,
      refused.map(({ appends }) => appends),
    );
    return outcomes.map((outcome) => ('error' in outcome ? (earlier.shift() ?? outcome) : outcome));
  }

  /** With inline hooks: one transaction, and in it a savepoint for each request. */
  async #inOneTransaction(group: readonly Request[], sql: Sessions): Promise<readonly Outcome[]> {
    const { outcomes, head } = await sql.begin(async (transaction) => {
      const done: Outcome[] = [];
      let reached = 0;
      for (const request of group) {
        const { outcome, head } = await this.#inSavepoint(transaction, request);
        done.push(outcome);
        reached = Math.max(reached, head);
      }
      return { outcomes: done, head: reached };
    });
    this.#context.onCommit(head);
    return outcomes;
  }

  async #inSavepoint(
    transaction: postgres.TransactionSql,
    { appends, inline }: Request,
    before?: (inner: postgres.TransactionSql) => Promise<void>,
  ): Promise<Attempt> {
    const { writes, runInline } = this.#context;
    try {
      return await transaction.savepoint(async (inner) => {
        await before?.(inner);
        const appended = await writes.append(inner, [appends]);
        const outcome = appended.outcomes[0] ?? LOST;
        if ('error' in outcome) throw new Refused(outcome.error);
        if (inline) {
          const events = recorded(appends, outcome.value, appended);
          await runInline(inner, (unit) => inline(events, unit));
        }
        return { outcome, head: appended.head };
      });
    } catch (error) {
      if (isConnectionError(error)) throw error;
      if (!(error instanceof Refused) && !isDuplicate(error)) {
        return { outcome: { error: await this.#explained(error, transaction) }, head: 0 };
      }
      return this.#refused(transaction, appends, { error: error instanceof Refused ? error.cause : error });
    }
  }

  /** A refused append may be the repeat of one that succeeded. */
  async #refused(
    transaction: postgres.TransactionSql,
    appends: AppendRequest,
    outcome: Outcome,
  ): Promise<Attempt> {
    const [earlier] = await this.#context.writes.earlierOutcomes(transaction, [appends]);
    return { outcome: earlier ?? outcome, head: 0 };
  }

  async #explained(error: unknown, runner: Runner): Promise<unknown> {
    const code = codeOf(error);
    if (code === INVALID_TRANSACTION_STATE) {
      return new InvalidArgumentError(
        'transaction',
        messageOf(error),
        "must have the isolation 'read committed'",
      );
    }
    if (code !== LOCK_NOT_AVAILABLE) return translate(error, 'an append');
    const { lockHolders, lockTimeoutMs } = this.#context;
    return new StoreBusyError(lockTimeoutMs, error, await lockHolders(runner).catch(() => []));
  }
}

/** An append was refused by its condition; `cause` says why. */
class Refused extends Error {
  constructor(cause: unknown) {
    super('The append was refused', { cause });
  }
}

const LOST: Outcome = { error: new Error('The commit gave no outcome for this append') };

const LOCK_NOT_AVAILABLE = '55P03';
const INVALID_TRANSACTION_STATE = '25000';

/** The server undid the transaction so that others could go on: it is simply done again. */
const RETRIED = new Set(['40001', '40P01']);

function unknown(appends: AppendRequest, waited: number, cause: unknown): Outcome {
  const ids = appends.flatMap(({ events }) => events.map(({ id }) => id));
  return { error: new AppendOutcomeUnknownError(ids, waited, cause) };
}

function withoutRepeats(requests: readonly Request[]): { first: Request[]; later: Request[] } {
  const seen = new Set<string>();
  const first: Request[] = [];
  const later: Request[] = [];
  for (const request of requests) {
    const ids = request.appends.flatMap(({ events }) => events.map(({ id }) => id));
    if (ids.some((id) => seen.has(id))) later.push(request);
    else first.push(request);
    for (const id of ids) seen.add(id);
  }
  return { first, later };
}

/** What an append wrote, as a reader will see it. */
function recorded(
  appends: AppendRequest,
  results: readonly AppendResult[],
  { recordedAt }: GroupOutcome,
): RecordedEvent[] {
  return appends.flatMap((append, index) => {
    const result = results[index];
    return result ? recordedEvents(append, result, recordedAt) : [];
  });
}

function recordedEvents(
  { stream, events }: PreparedAppend,
  { revision, position }: AppendResult,
  recordedAt: Date,
): RecordedEvent[] {
  return events.map(({ id, type, version, data, metadata }, index) => {
    const behind = events.length - 1 - index;
    return {
      id,
      type,
      version,
      stream,
      revision: revision - behind,
      position: position - behind,
      recordedAt,
      metadata: metadata === undefined ? {} : (JSON.parse(metadata) as RecordedEvent['metadata']),
      data: JSON.parse(data) as unknown,
    };
  });
}
