import {
  toJson,
  type DeadLetter,
  type EventPlace,
  type Generation,
  type LetterError,
  type LetterQuery,
  type LetterSelection,
  type PartitionKey,
  type SliceRange,
} from '@refold/core';
import type { Statements } from './statements.js';

interface LetterRow {
  processor: string;
  generation: number;
  position: number;
  sequence: string;
  slice: number;
  event: string;
  error: string | null;
  attempts: number;
  retries: number;
  parkedAt: number;
  lastAttemptAt: number | null;
  retryAt: number | null;
  discardedAt: number | null;
  discardReason: string | null;
}

const LETTER = `select processor, generation, position, sequence, slice, event, error, attempts, retries, parked_at as parkedAt,
  last_attempt_at as lastAttemptAt, retry_at as retryAt, discarded_at as discardedAt, discard_reason as discardReason
  from refold_dead_letters`;

/** What a selection says; its values are those of `selectionValues`. */
const SELECTED = `processor = :processor and generation = :generation
  and (:sequence is null or sequence = :sequence) and (:position is null or position = :position)`;

/** The table of dead letters, through one connection. */
export class DeadLetterTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  /** One that was given up in the meantime stays so. */
  park(letters: readonly DeadLetter[]): void {
    const upsert = this.#statements.run(
      `insert into refold_dead_letters (processor, generation, position, sequence, slice, event, error, attempts, retries, parked_at,
         last_attempt_at, retry_at, discarded_at, discard_reason)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       on conflict do update set sequence = excluded.sequence, slice = excluded.slice, event = excluded.event,
         error = excluded.error, attempts = excluded.attempts, retries = excluded.retries, parked_at = excluded.parked_at,
         last_attempt_at = excluded.last_attempt_at, retry_at = excluded.retry_at,
         discarded_at = excluded.discarded_at, discard_reason = excluded.discard_reason
       where discarded_at is null`,
    );
    for (const letter of letters) upsert.run(...letterValues(letter));
  }

  unpark({
    processor,
    generation,
    position,
  }: Pick<DeadLetter, 'processor' | 'generation' | 'position'>): boolean {
    const remove = this.#statements.run(
      `delete from refold_dead_letters
       where processor = ? and generation = ? and position = ? and discarded_at is null`,
    );
    return remove.run(processor, generation, position).changes === 1;
  }

  removeAll({ processor, generation }: Generation): void {
    this.#statements
      .run('delete from refold_dead_letters where processor = ? and generation = ?')
      .run(processor, generation);
  }

  list({ discarded = false, after = 0, limit = 100, ...selection }: LetterQuery): DeadLetter[] {
    const rows = this.#statements
      .objects(
        `${LETTER} where ${SELECTED} and (discarded_at is not null) = :discarded and position > :after
         order by position limit :limit`,
      )
      .all({ ...selectionValues(selection), discarded: Number(discarded), after, limit });
    return (rows as LetterRow[]).map(toLetter);
  }

  /** Where those of a generation are that hold something back. */
  open({ processor, generation }: Pick<Generation, 'processor' | 'generation'>): EventPlace[] {
    return this.#statements
      .objects(
        `select position, slice from refold_dead_letters
         where processor = ? and generation = ? and discarded_at is null`,
      )
      .all(processor, generation) as EventPlace[];
  }

  count(processor?: string): { processor: string; generation: number; count: number }[] {
    return this.#statements
      .objects(
        `select processor, generation, count(*) as count from refold_dead_letters
         where discarded_at is null and (:processor is null or processor = :processor)
         group by processor, generation order by processor, generation`,
      )
      .all({ processor: processor ?? null }) as { processor: string; generation: number; count: number }[];
  }

  sequences(partition: PartitionKey & SliceRange): string[] {
    return [...this.#firsts(partition)].map(({ sequence }) => sequence);
  }

  due(partition: PartitionKey & SliceRange, now: Date, limit: number): DeadLetter[] {
    const isDue = ({ attempts, retryAt }: LetterRow): boolean =>
      attempts === 0 || (retryAt !== null && retryAt <= now.getTime());
    return [...this.#firsts(partition)]
      .filter(isDue)
      .sort((a, b) => a.position - b.position)
      .slice(0, limit)
      .map(toLetter);
  }

  retry(selection: LetterSelection, at: Date): number {
    const update = this.#statements.run(
      `update refold_dead_letters set retry_at = :at where processor = :processor and generation = :generation
       and position in (
         select min(position) from refold_dead_letters
         where processor = :processor and generation = :generation and discarded_at is null
           and (:sequence is null or sequence = :sequence)
           and (:position is null or sequence = (select sequence from refold_dead_letters
             where processor = :processor and generation = :generation and position = :position and discarded_at is null))
         group by sequence)`,
    );
    return update.run({ ...selectionValues(selection), at: at.getTime() }).changes;
  }

  discard(
    selection: LetterSelection,
    { reason, at }: { readonly reason: string; readonly at: Date },
  ): number {
    const update = this.#statements.run(
      `update refold_dead_letters set discarded_at = :at, discard_reason = :reason
       where ${SELECTED} and discarded_at is null`,
    );
    return update.run({ ...selectionValues(selection), at: at.getTime(), reason }).changes;
  }

  /** The first letter of each sequence: one step in the index a sequence, however many letters wait behind it. */
  *#firsts({
    processor,
    generation,
    firstSlice,
    lastSlice,
  }: PartitionKey & SliceRange): Generator<LetterRow> {
    // All columns of the index are compared: with the first two alone SQLite walks through the letters of the sequence.
    const next = this.#statements.objects(
      `${LETTER} where processor = ? and generation = ? and (slice, sequence, position) > (?, ?, ?)
         and discarded_at is null
       order by slice, sequence, position limit 1`,
    );
    let row = next.get(processor, generation, firstSlice, '', -1) as LetterRow | undefined;
    while (row && row.slice <= lastSlice) {
      yield row;
      const behind = [row.slice, row.sequence, Number.MAX_SAFE_INTEGER];
      row = next.get(processor, generation, ...behind) as LetterRow | undefined;
    }
  }
}

function selectionValues({ processor, generation, sequence, position }: LetterSelection): object {
  return { processor, generation, sequence: sequence ?? null, position: position ?? null };
}

function letterValues(letter: DeadLetter): unknown[] {
  const { processor, generation, position, sequence, slice, event, error, attempts, retries } = letter;
  const subject = `the dead letter at position ${position}`;
  return [
    ...[processor, generation, position, sequence, slice, toJson(event, subject)],
    ...[error ? toJson(error, subject) : null, attempts, retries, letter.parkedAt.getTime()],
    ...[letter.lastAttemptAt?.getTime() ?? null, letter.retryAt?.getTime() ?? null],
    ...[letter.discarded?.at.getTime() ?? null, letter.discarded?.reason ?? null],
  ];
}

function toLetter(row: LetterRow): DeadLetter {
  const { processor, generation, position, sequence, slice, attempts, retries, discardedAt, discardReason } =
    row;
  return {
    ...{ processor, generation, position, sequence, slice, attempts, retries },
    event: JSON.parse(row.event) as DeadLetter['event'],
    error: row.error === null ? undefined : (JSON.parse(row.error) as LetterError),
    parkedAt: new Date(row.parkedAt),
    lastAttemptAt: toDate(row.lastAttemptAt),
    retryAt: toDate(row.retryAt),
    discarded: discardedAt === null ? undefined : { reason: discardReason ?? '', at: new Date(discardedAt) },
  };
}

function toDate(milliseconds: number | null): Date | undefined {
  return milliseconds === null ? undefined : new Date(milliseconds);
}
