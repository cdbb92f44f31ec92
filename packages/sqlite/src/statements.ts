import type Database from 'better-sqlite3';

/** A value that SQL takes or gives. */
export type SqlValue = string | number | bigint | null | Uint8Array;

type Statement = Database.Statement<unknown[]>;

/** Prepared statements of one connection by their SQL, the least recently prepared going first when there are many. */
export class Statements {
  readonly #database: Database.Database;
  readonly #prepared = new Map<string, Statement>();

  constructor(database: Database.Database) {
    this.#database = database;
  }

  /** Rows as objects. */
  objects(sql: string): Statement {
    return this.#get(`objects:${sql}`, () => this.#database.prepare(sql));
  }

  /** Rows as arrays of their columns, the fastest form. */
  arrays(sql: string): Statement {
    return this.#get(`arrays:${sql}`, () => this.#database.prepare<unknown[]>(sql).raw(true));
  }

  /** Rows as their first column. */
  values(sql: string): Statement {
    return this.#get(`values:${sql}`, () => this.#database.prepare<unknown[]>(sql).pluck(true));
  }

  /** A statement that returns no rows. */
  run(sql: string): Statement {
    return this.#get(sql, () => this.#database.prepare(sql));
  }

  #get(key: string, prepare: () => Statement): Statement {
    let statement = this.#prepared.get(key);
    if (!statement) {
      statement = prepare();
      this.#prepared.set(key, statement);
      if (this.#prepared.size > 500) {
        for (const oldest of this.#prepared.keys()) {
          this.#prepared.delete(oldest);
          break;
        }
      }
    }
    return statement;
  }
}
