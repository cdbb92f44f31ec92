import {
  SerializationError,
  toJson,
  type DeadLetter,
  type Generation,
  type LetterError,
  type LetterQuery,
  type LetterSelection,
  type PartitionKey,
  type SliceRange,
} from '@refold/core';
import { plainArray, textArray } from './arrays.js';
import { codeOf, query, type Runner, type Value } from './connection.js';
import type { Schema } from './schema.js';
import { asTime, inMilliseconds, toDate } from './times.js';

interface LetterRow {
  readonly processor: string;
  readonly generation: number;
  readonly position: string;
  readonly sequence: string;
  readonly slice: number;
  readonly event: string;
  readonly error: string | null;
  readonly attempts: number;
  readonly retries: number;
  readonly parked: string;
  readonly attempted: string | null;
  readonly retry: string | null;
  readonly discarded: string | null;
  readonly reason: string | null;
}

/** What `selectionValues` give in SQL. */
const SELECTED = `processor = $1 and generation = $2::int
  and ($3::text is null or sequence = $3) and ($4::bigint is null or position = $4::bigint)`;

/** What a text column cannot hold: NUL. */
const NOT_TEXT = '22021';

/** The table of dead letters. */
export class DeadLetterTable {
  readonly #letters: string;

  constructor(schema: Schema) {
    this.#letters = schema.of('dead_letters');
  }

  /** One that was given up in the meantime stays so. */
  async park(transaction: Runner, letters: readonly DeadLetter[]): Promise<void> {
    // A statement cannot insert the same row twice.
    const last = [...new Map(letters.map((letter) => [letterKey(letter), letter])).values()];
    if (last.length === 0) return;
    await query(
      transaction,
      `insert into ${this.#letters} as l (processor, generation, position, sequence, slice, event, error, attempts,
         retries, discard_reason, parked_at, last_attempt_at, retry_at, discarded_at)
       select processor, generation, position, sequence, slice, event::json, error::json, attempts, retries, reason,
         ${asTime('parked')}, ${asTime('attempted')}, ${asTime('retry')}, ${asTime('discarded')}
       from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::int[], $6::text[], $7::text[], $8::int[],
         $9::int[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[])
         as n(processor, generation, position, sequence, slice, event, error, attempts, retries, reason, parked, attempted,
           retry, discarded)
       on conflict (processor, generation, position) do update set sequence = excluded.sequence, slice = excluded.slice,
         event = excluded.event, error = excluded.error, attempts = excluded.attempts, retries = excluded.retries,
         parked_at = excluded.parked_at, last_attempt_at = excluded.last_attempt_at, retry_at = excluded.retry_at,
         discarded_at = excluded.discarded_at, discard_reason = excluded.discard_reason
       where l.discarded_at is null`,
      letterArrays(last),
    ).catch((error: unknown) => {
      throw codeOf(error) === NOT_TEXT
        ? new SerializationError('the sequence of a dead letter', error)
        : error;
    });
  }

  async unpark(
    transaction: Runner,
    { processor, generation, position }: Pick<DeadLetter, 'processor' | 'generation' | 'position'>,
  ): Promise<boolean> {
    const removed = await query(
      transaction,
      `delete from ${this.#letters}
       where processor = $1 and generation = $2::int and position = $3::bigint and discarded_at is null
       returning 1 as done`,
      [processor, generation, position],
    );
    return removed.length === 1;
  }

  async removeAll(transaction: Runner, { processor, generation }: Generation): Promise<void> {
    const sql = `delete from ${this.#letters} where processor = $1 and generation = $2::int`;
    await query(transaction, sql, [processor, generation]);
  }

  async list(
    runner: Runner,
    { discarded = false, after = 0, limit = 100, ...selection }: LetterQuery,
  ): Promise<DeadLetter[]> {
    return this.#select(
      runner,
      `where ${SELECTED} and discarded_at is ${discarded ? 'not null' : 'null'} and position > $5::bigint
       order by position limit $6::bigint`,
      [...selectionValues(selection), after, limit],
    );
  }

  async count(
    runner: Runner,
    processor?: string,
  ): Promise<{ processor: string; generation: number; count: number }[]> {
    return query<{ processor: string; generation: number; count: number }>(
      runner,
      `select processor, generation, count(*)::int as count from ${this.#letters}
       where discarded_at is null and ($1::text is null or processor = $1)
       group by processor, generation order by processor, generation`,
      [processor ?? null],
    );
  }

  async sequences(runner: Runner, partition: PartitionKey & SliceRange): Promise<string[]> {
    const sql = `${this.#firsts()} select sequence from firsts`;
    return (await query<{ sequence: string }>(runner, sql, rangeValues(partition))).map(
      ({ sequence }) => sequence,
    );
  }

  due(runner: Runner, partition: PartitionKey & SliceRange, now: Date, limit: number): Promise<DeadLetter[]> {
    return this.#select(
      runner,
      `where processor = $1 and generation = $2::int and position in (
         ${this.#firsts()}
         select position from firsts where attempts = 0 or retry_at <= ${asTime('$5')} order by position limit $6::bigint)
       order by position`,
      [...rangeValues(partition), now.getTime(), limit],
    );
  }

  async retry(runner: Runner, selection: LetterSelection, at: Date): Promise<number> {
    const rows = await query(
      runner,
      `update ${this.#letters} set retry_at = ${asTime('$5')}
       where processor = $1 and generation = $2::int and discarded_at is null and position in (
         select min(position) from ${this.#letters}
         where processor = $1 and generation = $2::int and discarded_at is null and sequence in (
           select sequence from ${this.#letters} where ${SELECTED} and discarded_at is null)
         group by sequence)
       returning 1 as done`,
      [...selectionValues(selection), at.getTime()],
    );
    return rows.length;
  }

  async discard(
    runner: Runner,
    selection: LetterSelection,
    { reason, at }: { readonly reason: string; readonly at: Date },
  ): Promise<number> {
    const rows = await query<{ count: number }>(
      runner,
      `with discarded as (
         update ${this.#letters} set discarded_at = ${asTime('$5')}, discard_reason = $6
         where ${SELECTED} and discarded_at is null returning 1)
       select count(*)::int as count from discarded`,
      [...selectionValues(selection), at.getTime(), reason],
    );
    return rows[0]?.count ?? 0;
  }

  async #select(runner: Runner, rest: string, values: readonly Value[]): Promise<DeadLetter[]> {
    const rows = await query<LetterRow>(
      runner,
      `select processor, generation, position, sequence, slice, event::text as event, error::text as error, attempts, retries,
         ${inMilliseconds('parked_at')} as parked, ${inMilliseconds('last_attempt_at')} as attempted,
         ${inMilliseconds('retry_at')} as retry, ${inMilliseconds('discarded_at')} as discarded, discard_reason as reason
       from ${this.#letters} ${rest}`,
      values,
    );
    return rows.map(toLetter);
  }

  /**
   * The first letter of each sequence in a partition's range, which `rangeValues` give: one step in the index a sequence,
   * however many letters wait behind it.
   */
  #firsts(): string {
    const next = (
      behind: string,
    ): string => `select slice, sequence, position, attempts, retry_at from ${this.#letters}
      where processor = $1 and generation = $2::int and slice <= $4::int and discarded_at is null and ${behind}
      order by slice, sequence, position limit 1`;
    return `with recursive firsts as (
        (${next('slice >= $3::int')})
        union all
        select n.* from firsts f cross join lateral (${next('(slice, sequence) > (f.slice, f.sequence)')}) n
      )`;
  }
}

function letterKey({ processor, generation, position }: DeadLetter): string {
  return JSON.stringify([processor, generation, position]);
}

function selectionValues({ processor, generation, sequence, position }: LetterSelection): Value[] {
  return [processor, generation, sequence ?? null, position ?? null];
}

function rangeValues({ processor, generation, firstSlice, lastSlice }: PartitionKey & SliceRange): Value[] {
  return [processor, generation, firstSlice, lastSlice];
}

function letterArrays(letters: readonly DeadLetter[]): string[] {
  const json = (value: unknown, { position }: DeadLetter): string =>
    toJson(value, `the dead letter at position ${position}`);
  return [
    textArray(letters.map(({ processor }) => processor)),
    plainArray(letters.map(({ generation }) => generation)),
    plainArray(letters.map(({ position }) => position)),
    textArray(letters.map(({ sequence }) => sequence)),
    plainArray(letters.map(({ slice }) => slice)),
    textArray(letters.map((letter) => json(letter.event, letter))),
    textArray(letters.map((letter) => letter.error && json(letter.error, letter))),
    plainArray(letters.map(({ attempts }) => attempts)),
    plainArray(letters.map(({ retries }) => retries)),
    textArray(letters.map(({ discarded }) => discarded?.reason)),
    plainArray(letters.map(({ parkedAt }) => parkedAt.getTime())),
    plainArray(letters.map(({ lastAttemptAt }) => lastAttemptAt?.getTime())),
    plainArray(letters.map(({ retryAt }) => retryAt?.getTime())),
    plainArray(letters.map(({ discarded }) => discarded?.at.getTime())),
  ];
}

function toLetter(row: LetterRow): DeadLetter {
  const { processor, generation, sequence, slice, attempts, retries, parked, discarded, reason } = row;
  return {
    ...{ processor, generation, position: Number(row.position), sequence, slice, attempts, retries },
    event: JSON.parse(row.event) as DeadLetter['event'],
    error: row.error === null ? undefined : (JSON.parse(row.error) as LetterError),
    parkedAt: new Date(Number(parked)),
    lastAttemptAt: toDate(row.attempted),
    retryAt: toDate(row.retry),
    discarded: discarded === null ? undefined : { reason: reason ?? '', at: new Date(Number(discarded)) },
  };
}
