import type { EventPlace, Generation } from '@refold/core';
import { plainArray } from './arrays.js';
import { query, type Runner } from './connection.js';
import type { Schema } from './schema.js';

type Owner = Pick<Generation, 'processor' | 'generation'>;

/** The table of what generations inherited unprocessed. */
export class UnprocessedTable {
  readonly #unprocessed: string;
  readonly #letters: string;

  constructor(schema: Schema) {
    this.#unprocessed = schema.of('unprocessed');
    this.#letters = schema.of('dead_letters');
  }

  of(runner: Runner, owner: Owner): Promise<EventPlace[]> {
    return placesIn(runner, this.#unprocessed, owner);
  }

  /** Where the dead letters of a generation are that hold something back. */
  letters(runner: Runner, owner: Owner): Promise<EventPlace[]> {
    return placesIn(runner, this.#letters, owner, 'and discarded_at is null');
  }

  /** In the place of what was there. */
  async put(
    transaction: Runner,
    { processor, generation }: Owner,
    events: readonly EventPlace[],
  ): Promise<void> {
    await this.removeAll(transaction, { processor, generation });
    if (events.length === 0) return;
    await query(
      transaction,
      `insert into ${this.#unprocessed} (processor, generation, position, slice)
       select $1, $2::int, position, slice from unnest($3::bigint[], $4::int[]) as e(position, slice)`,
      [
        ...[processor, generation],
        plainArray(events.map(({ position }) => position)),
        plainArray(events.map(({ slice }) => slice)),
      ],
    );
  }

  async removeAll(transaction: Runner, { processor, generation }: Owner): Promise<void> {
    const sql = `delete from ${this.#unprocessed} where processor = $1 and generation = $2::int`;
    await query(transaction, sql, [processor, generation]);
  }
}

async function placesIn(
  runner: Runner,
  table: string,
  { processor, generation }: Owner,
  rest = '',
): Promise<EventPlace[]> {
  const rows = await query<{ position: string; slice: number }>(
    runner,
    `select position, slice from ${table} where processor = $1 and generation = $2::int ${rest}`,
    [processor, generation],
  );
  return rows.map(({ position, slice }) => ({ position: Number(position), slice }));
}
