import type { EventPlace, Generation } from '@refold/core';
import type { Statements } from './statements.js';

type Owner = Pick<Generation, 'processor' | 'generation'>;

/** The table of what generations inherited unprocessed, through one connection. */
export class UnprocessedTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  of({ processor, generation }: Owner): EventPlace[] {
    return this.#statements
      .objects('select position, slice from refold_unprocessed where processor = ? and generation = ?')
      .all(processor, generation) as EventPlace[];
  }

  /** In the place of what was there. */
  put({ processor, generation }: Owner, events: readonly EventPlace[]): void {
    this.removeAll({ processor, generation });
    const insert = this.#statements.run(
      'insert into refold_unprocessed (processor, generation, position, slice) values (?, ?, ?, ?)',
    );
    for (const { position, slice } of events) insert.run(processor, generation, position, slice);
  }

  removeAll({ processor, generation }: Owner): void {
    this.#statements
      .run('delete from refold_unprocessed where processor = ? and generation = ?')
      .run(processor, generation);
  }
}
