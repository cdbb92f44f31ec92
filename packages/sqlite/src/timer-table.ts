import { toJson, type Generation, type PartitionKey, type SliceRange, type Timer } from '@refold/core';
import type { Statements } from './statements.js';

interface TimerRow {
  sequence: string;
  slice: number;
  name: string;
  dueAt: number;
  data: string;
}

type Owner = Pick<Generation, 'processor' | 'generation'>;

/** The table of timers, through one connection. */
export class TimerTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  set({ processor, generation }: Owner, timers: readonly Timer[]): void {
    const upsert = this.#statements.run(
      `insert into refold_timers (processor, generation, sequence, name, slice, due_at, data) values (?, ?, ?, ?, ?, ?, ?)
       on conflict do update set slice = excluded.slice, due_at = excluded.due_at, data = excluded.data`,
    );
    for (const { sequence, slice, name, dueAt, data } of timers) {
      const json = toJson(data, `timer "${name}" of ${sequence}`);
      upsert.run(processor, generation, sequence, name, slice, dueAt.getTime(), json);
    }
  }

  remove({ processor, generation }: Owner, timers: readonly Pick<Timer, 'sequence' | 'name'>[]): boolean[] {
    const remove = this.#statements.run(
      'delete from refold_timers where processor = ? and generation = ? and sequence = ? and name = ?',
    );
    return timers.map(
      ({ sequence, name }) => remove.run(processor, generation, sequence, name).changes === 1,
    );
  }

  removeAll({ processor, generation }: Owner): void {
    this.#statements
      .run('delete from refold_timers where processor = ? and generation = ?')
      .run(processor, generation);
  }

  first({ processor, generation, firstSlice, lastSlice }: PartitionKey & SliceRange, limit: number): Timer[] {
    const rows = this.#statements
      .objects(
        `select sequence, slice, name, due_at as dueAt, data from refold_timers
         where processor = ? and generation = ? and slice between ? and ? order by due_at limit ?`,
      )
      .all(processor, generation, firstSlice, lastSlice, limit) as TimerRow[];
    return rows.map((row) => ({
      ...row,
      dueAt: new Date(row.dueAt),
      data: JSON.parse(row.data) as unknown,
    }));
  }
}
