import type { ReceivedId, ReceivedPlace } from '@refold/core';
import type { Statements } from './statements.js';

/** The tables of what inboxes have received, through one connection. */
export class InboxTables {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  receive({ inbox, source, id }: ReceivedId, now: number): boolean {
    const insert = this.#statements.run(
      `insert into refold_received_ids (inbox, source, id, received_at) values (?, ?, ?, ?)
       on conflict do nothing`,
    );
    return insert.run(inbox, source, id, now).changes === 1;
  }

  receiveInSequence({ inbox, source, key, sequence }: ReceivedPlace, now: number): boolean {
    const upsert = this.#statements.run(
      `insert into refold_received_sequences (inbox, source, key, sequence, received_at) values (?, ?, ?, ?, ?)
       on conflict do update set sequence = excluded.sequence, received_at = excluded.received_at
         where excluded.sequence > refold_received_sequences.sequence`,
    );
    return upsert.run(inbox, source, key, sequence, now).changes === 1;
  }

  forget(inbox: string, before: number, limit: number): number {
    const ids = this.#statements.run(
      `delete from refold_received_ids where (inbox, source, id) in (
         select inbox, source, id from refold_received_ids
         where inbox = ? and received_at < ? order by received_at limit ?)`,
    );
    const sequences = this.#statements.run(
      `delete from refold_received_sequences where (inbox, source, key) in (
         select inbox, source, key from refold_received_sequences
         where inbox = ? and received_at < ? order by received_at limit ?)`,
    );
    return ids.run(inbox, before, limit).changes + sequences.run(inbox, before, limit).changes;
  }
}
