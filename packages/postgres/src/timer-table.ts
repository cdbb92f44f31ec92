import { toJson, type Generation, type PartitionKey, type SliceRange, type Timer } from '@refold/core';
import { plainArray, textArray } from './arrays.js';
import { query, type Runner } from './connection.js';
import type { Schema } from './schema.js';
import { asTime, inMilliseconds } from './times.js';

interface TimerRow {
  readonly sequence: string;
  readonly slice: number;
  readonly name: string;
  readonly due: string;
  readonly data: string;
}

type Owner = Pick<Generation, 'processor' | 'generation'>;
type TimerKey = Pick<Timer, 'sequence' | 'name'>;

/** The table of timers. */
export class TimerTable {
  readonly #timers: string;

  constructor(schema: Schema) {
    this.#timers = schema.of('timers');
  }

  async set(transaction: Runner, { processor, generation }: Owner, timers: readonly Timer[]): Promise<void> {
    // A statement cannot insert the same row twice.
    const last = [...new Map(timers.map((timer) => [timerKey(timer), timer])).values()];
    if (last.length === 0) return;
    await query(
      transaction,
      `insert into ${this.#timers} (processor, generation, sequence, name, slice, due_at, data)
       select $1, $2::int, sequence, name, slice, ${asTime('due')}, data::json
       from unnest($3::text[], $4::text[], $5::int[], $6::bigint[], $7::text[]) as t(sequence, name, slice, due, data)
       on conflict (processor, generation, sequence, name)
         do update set slice = excluded.slice, due_at = excluded.due_at, data = excluded.data`,
      [
        ...[processor, generation, ...keyArrays(last)],
        plainArray(last.map(({ slice }) => slice)),
        plainArray(last.map(({ dueAt }) => dueAt.getTime())),
        textArray(last.map(({ data, name, sequence }) => toJson(data, `timer "${name}" of ${sequence}`))),
      ],
    );
  }

  async remove(
    transaction: Runner,
    { processor, generation }: Owner,
    timers: readonly TimerKey[],
  ): Promise<boolean[]> {
    if (timers.length === 0) return [];
    const rows = await query<TimerKey>(
      transaction,
      `delete from ${this.#timers} t using unnest($3::text[], $4::text[]) as k(sequence, name)
       where processor = $1 and generation = $2::int and t.sequence = k.sequence and t.name = k.name
       returning t.sequence as sequence, t.name as name`,
      [processor, generation, ...keyArrays(timers)],
    );
    const removed = new Set(rows.map(timerKey));
    return timers.map((timer) => removed.delete(timerKey(timer)));
  }

  async removeAll(transaction: Runner, { processor, generation }: Owner): Promise<void> {
    const sql = `delete from ${this.#timers} where processor = $1 and generation = $2::int`;
    await query(transaction, sql, [processor, generation]);
  }

  async first(
    runner: Runner,
    { processor, generation, firstSlice, lastSlice }: PartitionKey & SliceRange,
    limit: number,
  ): Promise<Timer[]> {
    const rows = await query<TimerRow>(
      runner,
      `select sequence, slice, name, ${inMilliseconds('due_at')} as due, data::text as data from ${this.#timers}
       where processor = $1 and generation = $2::int and slice between $3::int and $4::int
       order by due_at limit $5::bigint`,
      [processor, generation, firstSlice, lastSlice, limit],
    );
    return rows.map(({ due, data, ...timer }) => ({
      ...timer,
      dueAt: new Date(Number(due)),
      data: JSON.parse(data) as unknown,
    }));
  }
}

function timerKey({ sequence, name }: TimerKey): string {
  return JSON.stringify([sequence, name]);
}

function keyArrays(timers: readonly TimerKey[]): [string, string] {
  return [textArray(timers.map(({ sequence }) => sequence)), textArray(timers.map(({ name }) => name))];
}
