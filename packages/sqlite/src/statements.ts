import type Database from 'better-sqlite3';
import { translate } from './database.js';

/** A value that SQL takes or gives. */
export type SqlValue = string | number | bigint | null | Uint8Array;

/** A prepared statement whose errors say what a user can do about them. */
export class Statement {
  readonly #statement: Database.Statement<unknown[]>;
  readonly #file: string;

  constructor(statement: Database.Statement<unknown[]>, file: string) {
    this.#statement = statement;
    this.#file = file;
  }

  run(...values: unknown[]): Database.RunResult {
    try {
      return this.#statement.run(...values);
    } catch (error) {
      throw translate(error, this.#file);
    }
  }

  get(...values: unknown[]): unknown {
    try {
      return this.#statement.get(...values);
    } catch (error) {
      throw translate(error, this.#file);
    }
  }

  all(...values: unknown[]): unknown[] {
    try {
      return this.#statement.all(...values);
    } catch (error) {
      throw translate(error, this.#file);
    }
  }
}

/** Prepared statements of one connection by their SQL, the least recently prepared going first when there are many. */
export class Statements {
  readonly #database: Database.Database;
  readonly #file: string;
  readonly #prepared = new Map<string, Statement>();

  constructor(database: Database.Database, file: string) {
    this.#database = database;
    this.#file = file;
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

  #get(key: string, prepare: () => Database.Statement<unknown[]>): Statement {
    let statement = this.#prepared.get(key);
    if (!statement) {
      statement = new Statement(this.#prepare(prepare), this.#file);
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

  #prepare(prepare: () => Database.Statement<unknown[]>): Database.Statement<unknown[]> {
    try {
      return prepare();
    } catch (error) {
      throw translate(error, this.#file);
    }
  }
}
