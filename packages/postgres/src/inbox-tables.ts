import type { ReceivedId, ReceivedPlace } from '@refold/core';
import { query, type Runner } from './connection.js';
import type { Schema } from './schema.js';

/** The tables of what inboxes have received. The database's clock tells when. */
export class InboxTables {
  readonly #ids: string;
  readonly #sequences: string;

  constructor(schema: Schema) {
    this.#ids = schema.of('received_ids');
    this.#sequences = schema.of('received_sequences');
  }

  /** The unique index makes it wait for a transaction that has inserted the same row, until that has ended. */
  async receive(transaction: Runner, { inbox, source, id }: ReceivedId): Promise<boolean> {
    const rows = await query(
      transaction,
      `insert into ${this.#ids} (inbox, source, id) values ($1, $2, $3)
       on conflict (inbox, source, id) do nothing returning 1 as new`,
      [inbox, source, id],
    );
    return rows.length === 1;
  }

  async receiveInSequence(
    transaction: Runner,
    { inbox, source, key, sequence }: ReceivedPlace,
  ): Promise<boolean> {
    const rows = await query(
      transaction,
      `insert into ${this.#sequences} as known (inbox, source, key, sequence) values ($1, $2, $3, $4)
       on conflict (inbox, source, key) do update
         set sequence = excluded.sequence, received_at = excluded.received_at
         where excluded.sequence > known.sequence
       returning 1 as new`,
      [inbox, source, key, sequence],
    );
    return rows.length === 1;
  }

  /** Rows that another is deleting, or moving on, are left to it. */
  async forget(runner: Runner, inbox: string, olderThanMs: number, limit: number): Promise<number> {
    const old = (table: string): string => `delete from ${table} where ctid = any(array(
      select ctid from ${table}
      where inbox = $1 and received_at < clock_timestamp() - $2::float8 * interval '1 millisecond'
      order by received_at limit $3::bigint for update skip locked))`;
    const rows = await query<{ forgotten: string }>(
      runner,
      `with ids as (${old(this.#ids)} returning 1), sequences as (${old(this.#sequences)} returning 1)
       select (select count(*) from ids) + (select count(*) from sequences) as forgotten`,
      [inbox, olderThanMs, limit],
    );
    return Number(rows[0]?.forgotten ?? 0);
  }
}
