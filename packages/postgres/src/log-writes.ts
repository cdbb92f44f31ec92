import {
  conflictOf,
  DuplicateEventError,
  StreamArchivedError,
  type AppendResult,
  type ExpectedRevision,
  type PreparedAppend,
  type PreparedEvent,
  type Settled,
} from '@refold/core';
import { plainArray, textArray } from './arrays.js';
import { codeOf, query, type Runner, type Value } from './connection.js';
import type { Schema } from './schema.js';

/** Appends that happen together or not at all. */
export type AppendRequest = readonly PreparedAppend[];

/** What the append function answers; see migrations/001-log.sql. */
type Answer = [head: number, recordedAtMs: number, positions: (number | null)[], firstRevisions: number[]];

/** What became of a group. */
export interface GroupOutcome {
  readonly outcomes: readonly Settled<AppendResult[]>[];
  /** When its events were recorded. */
  readonly recordedAt: Date;
  readonly head: number;
}

/** Why an append inside a transaction failed; see migrations/001-log.sql. */
interface Failed {
  readonly code: string;
  readonly message: string;
}

interface Stored {
  readonly id: string;
  readonly stream: string;
  readonly revision: string;
  readonly position: string;
}

/** Below this, the revisions of the SQL functions are those of archived streams. */
export const ARCHIVED_BELOW = -9;

const UNIQUE_VIOLATION = '23505';

export interface LogWritesOptions {
  readonly lockTimeoutMs: number;
  readonly idleTransactionMs: number;
  readonly notify: boolean;
}

/** Writes the log, by one statement a group. */
export class LogWrites {
  readonly #schema: Schema;
  readonly #appendSql: string;
  readonly #appendOneSql: string;
  readonly #withinSql: string;
  readonly #enterSql: string;
  readonly #storedSql: string;
  readonly #currentSql: string;
  readonly #channel: string | null;
  readonly #lockTimeoutMs: number;
  readonly #idleTransactionMs: number;

  constructor(schema: Schema, options: LogWritesOptions) {
    this.#schema = schema;
    const parameters = `$1::int[], $2::int[], $3::bigint[], $4::int[], $5::text[], $6::int[], $7::int[], $8::text[],
      $9::uuid[], $10::text[], $11::int[], $12::text[], $13::text[], $14::int, $15::text`;
    this.#appendSql = `select ${schema.of('append')}(${parameters}) as answer`;
    this.#withinSql = `select ${schema.of('append_within')}(${parameters}, $16::int) as answer`;
    this.#enterSql = `select ${schema.of('enter_transaction')}($1::int)`;
    this.#appendOneSql = `select ${schema.of('append_one')}($1::text, $2::bigint, $3::uuid, $4::text, $5::int, $6::text,
      $7::text, $8::int, $9::text) as answer`;
    this.#storedSql = `select id, stream, revision, position from ${schema.of('log')} where id = any($1::uuid[])`;
    this.#currentSql = `select ${schema.of('head')}() as position, coalesce(
      (select max(revision) from ${schema.of('events')} where stream = $1),
      ${schema.of('revision_in_archive')}($1)) as revision`;
    this.#channel = options.notify ? schema.channel : null;
    this.#lockTimeoutMs = Math.max(1, Math.round(options.lockTimeoutMs));
    this.#idleTransactionMs = Math.round(options.idleTransactionMs);
  }

  /** Appends a group; each request has an outcome of its own. No event id may come twice in the group. */
  async append(runner: Runner, requests: readonly AppendRequest[]): Promise<GroupOutcome> {
    const only = onlyEvent(requests);
    const [row] = await (only
      ? query<{ answer: Answer }>(runner, this.#appendOneSql, this.#parametersOfOne(only))
      : query<{ answer: Answer }>(runner, this.#appendSql, this.#parameters(requests)));
    if (!row) throw new Error('The append function gave no answer');
    return groupOutcome(requests, row.answer);
  }

  /**
   * Appends inside a transaction of the user's, in one statement. What fails is undone for this request alone.
   * @throws AppendFailedError with the server's code
   */
  async appendWithin(runner: Runner, request: AppendRequest): Promise<GroupOutcome> {
    const values = [...this.#parameters([request]), this.#idleTransactionMs];
    const [row] = await query<{ answer: Answer | Failed }>(runner, this.#withinSql, values);
    if (!row) throw new Error('The append function gave no answer');
    if ('code' in row.answer) throw new AppendFailedError(row.answer);
    return groupOutcome([request], row.answer);
  }

  /** Makes a transaction of the user's ready for appends by `append`, as `appendWithin` does by itself. */
  async enter(runner: Runner): Promise<void> {
    await query(runner, this.#enterSql, [this.#idleTransactionMs]);
  }

  /**
   * What requests come to that could not be appended as they are: the earlier results of those that repeat an append,
   * a DuplicateEventError for those that reuse an id otherwise, undefined for those none of whose ids is known.
   */
  async earlierOutcomes(
    runner: Runner,
    requests: readonly AppendRequest[],
  ): Promise<(Settled<AppendResult[]> | undefined)[]> {
    const ids = requests.flatMap((request) => request.flatMap(({ events }) => events.map(({ id }) => id)));
    const rows = await query<Stored>(runner, this.#storedSql, [plainArray(ids)]);
    const stored = new Map(rows.map((row) => [row.id, row]));
    const outcomes = requests.map((request) => earlierOutcome(request, stored));
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome && 'value' in outcome) await this.#addEmpty(runner, requests[index] ?? [], outcome.value);
    }
    return outcomes;
  }

  /** Moves the events of a stream below a revision to the archive, or all and closes it; returns how many. */
  async archive(runner: Runner, stream: string, before: number | null): Promise<number> {
    const sql = `select ${this.#schema.of('archive')}($1, $2::bigint, $3::int) as moved`;
    const [row] = await query<{ moved: string }>(runner, sql, [stream, before, this.#lockTimeoutMs]);
    return Number(row?.moved ?? 0);
  }

  async reopen(runner: Runner, stream: string): Promise<void> {
    await query(runner, `select ${this.#schema.of('reopen')}($1, $2::int)`, [stream, this.#lockTimeoutMs]);
  }

  /** What an append of nothing returns. */
  async current(runner: Runner, stream: string): Promise<AppendResult> {
    const [row] = await query<{ position: string; revision: string | null }>(runner, this.#currentSql, [
      stream,
    ]);
    const revision = Number(row?.revision ?? -1);
    return {
      stream,
      revision: revision < ARCHIVED_BELOW ? -10 - revision : revision,
      position: Number(row?.position),
    };
  }

  /** Puts the results of appends of nothing in their places among the others. */
  async #addEmpty(runner: Runner, request: AppendRequest, results: AppendResult[]): Promise<void> {
    for (const [index, { stream, events }] of request.entries()) {
      if (events.length === 0) results.splice(index, 0, await this.current(runner, stream));
    }
  }

  #parametersOfOne({ stream, expected, events: [event] }: OneEvent): Value[] {
    const { id, type, version, data, metadata = null } = event;
    const condition = expectedNumber(expected);
    return [stream, condition, id, type, version, data, metadata, this.#lockTimeoutMs, this.#channel];
  }

  #parameters(requests: readonly AppendRequest[]): Value[] {
    const streams = new Map<string, number>();
    const byAppend = {
      requests: [] as number[],
      streams: [] as number[],
      expected: [] as number[],
      counts: [] as number[],
    };
    const byEvent = {
      appends: [] as number[],
      numbers: [] as number[],
      streams: [] as string[],
      ids: [] as string[],
      types: [] as string[],
      versions: [] as number[],
      data: [] as string[],
      metadata: [] as (string | undefined)[],
    };
    requests.forEach((request, requestIndex) => {
      for (const { stream, expected, events } of request) {
        let streamIndex = streams.get(stream);
        if (streamIndex === undefined) streams.set(stream, (streamIndex = streams.size + 1));
        byAppend.requests.push(requestIndex + 1);
        byAppend.streams.push(streamIndex);
        byAppend.expected.push(expectedNumber(expected));
        byAppend.counts.push(events.length);
        events.forEach(({ id, type, version, data, metadata }, number) => {
          byEvent.appends.push(byAppend.requests.length);
          byEvent.numbers.push(number);
          byEvent.streams.push(stream);
          byEvent.ids.push(id);
          byEvent.types.push(type);
          byEvent.versions.push(version);
          byEvent.data.push(data);
          byEvent.metadata.push(metadata);
        });
      }
    });
    return [
      plainArray(byAppend.requests),
      plainArray(byAppend.streams),
      plainArray(byAppend.expected),
      plainArray(byAppend.counts),
      textArray([...streams.keys()]),
      plainArray(byEvent.appends),
      plainArray(byEvent.numbers),
      textArray(byEvent.streams),
      plainArray(byEvent.ids),
      textArray(byEvent.types),
      plainArray(byEvent.versions),
      textArray(byEvent.data),
      textArray(byEvent.metadata),
      this.#lockTimeoutMs,
      this.#channel,
    ];
  }
}

/** What the server said of an append inside a transaction, which may go on. */
class AppendFailedError extends Error {
  readonly code: string;

  constructor({ code, message }: Failed) {
    super(message);
    this.code = code;
  }
}

/** An append of one event. */
interface OneEvent extends PreparedAppend {
  readonly events: readonly [PreparedEvent];
}

/** The append of a group that consists of one event: the most frequent one, which is worth a statement of its own. */
function onlyEvent([request, ...others]: readonly AppendRequest[]): OneEvent | undefined {
  const [append, ...more] = request ?? [];
  const [event, ...later] = append?.events ?? [];
  if (!append || !event || others.length > 0 || more.length > 0 || later.length > 0) return undefined;
  return { ...append, events: [event] };
}

/** Whether an append failed because an event id is taken. */
export function isDuplicate(error: unknown): boolean {
  return codeOf(error) === UNIQUE_VIOLATION;
}

function expectedNumber(expected: ExpectedRevision): number {
  if (typeof expected === 'number') return expected;
  return expected === 'no-stream' ? -1 : expected === 'stream-exists' ? -2 : -3;
}

function groupOutcome(
  requests: readonly AppendRequest[],
  [head, recordedAtMs, positions, firstRevisions]: Answer,
): GroupOutcome {
  let index = 0;
  const outcomes = requests.map((request) => {
    const first = index;
    index += request.length;
    return outcomeOf(request, positions.slice(first, index), firstRevisions.slice(first, index));
  });
  return { outcomes, recordedAt: new Date(recordedAtMs), head };
}

function outcomeOf(
  request: AppendRequest,
  positions: readonly (number | null)[],
  firstRevisions: readonly number[],
): Settled<AppendResult[]> {
  if (positions.includes(null)) return { error: refusal(request, firstRevisions) };
  const value = request.map(({ stream, events }, index) => ({
    stream,
    revision: (firstRevisions[index] ?? 0) + events.length - 1,
    position: (positions[index] ?? 0) + events.length - 1,
  }));
  return { value };
}

/** Why a request was refused: the first of its appends whose condition does not hold says so. */
function refusal(request: AppendRequest, revisions: readonly number[]): Error {
  for (const [index, { stream, expected, events }] of request.entries()) {
    const actual = revisions[index] ?? -1;
    if (events.length === 0) continue;
    if (actual < ARCHIVED_BELOW) return new StreamArchivedError(stream);
    const conflict = conflictOf(stream, expected, actual);
    if (conflict) return conflict;
  }
  return new Error('The append function refused an append whose conditions hold');
}

function earlierOutcome(
  request: AppendRequest,
  stored: ReadonlyMap<string, Stored>,
): Settled<AppendResult[]> | undefined {
  const filled = request.filter(({ events }) => events.length > 0);
  const known = filled
    .flatMap(({ stream, events }) => events.map(({ id }) => ({ id, stream })))
    .find(({ id }) => stored.has(id));
  if (!known) return undefined;
  const results = filled.map((append) => earlierResult(append, stored));
  if (results.includes(undefined)) return { error: new DuplicateEventError(known.id, known.stream) };
  const byStream = new Map(results.flatMap((result) => (result ? [[result.stream, result] as const] : [])));
  const value = request.flatMap(({ stream }) => byStream.get(stream) ?? []);
  return { value };
}

function earlierResult(
  { stream, events }: PreparedAppend,
  stored: ReadonlyMap<string, Stored>,
): AppendResult | undefined {
  const first = stored.get(events[0]?.id ?? '');
  if (!first) return undefined;
  const revision = Number(first.revision);
  const isSame = events.every(({ id }, index) => {
    const one = stored.get(id);
    return one?.stream === stream && Number(one.revision) === revision + index;
  });
  const last = events.length - 1;
  return isSame ? { stream, revision: revision + last, position: Number(first.position) + last } : undefined;
}
