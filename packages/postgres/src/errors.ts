import { RefoldError } from '@refold/core';

/** The schema was written by a newer Refold. Nothing was changed. */
export class NewerSchemaError extends RefoldError {
  readonly code = 'POSTGRES_NEWER_SCHEMA';

  constructor(
    readonly schema: string,
    readonly found: number,
    readonly known: number,
  ) {
    super(
      `Schema "${schema}" has version ${found}, this version of @refold/postgres knows up to ${known}: update @refold/postgres`,
    );
  }
}

/** The schema lacks migrations, and the store was told not to run them. Nothing was changed. */
export class OutdatedSchemaError extends RefoldError {
  readonly code = 'POSTGRES_OUTDATED_SCHEMA';

  constructor(
    readonly schema: string,
    /** 0 if Refold was never set up there. */
    readonly found: number,
    readonly needed: number,
  ) {
    super(
      `Schema "${schema}" has version ${found}, this code needs ${needed}: run the SQL that migrationSql() prints, ` +
        "or open the store once with migrate: 'run' and a role that may create tables",
    );
  }
}

/** The database cannot hold Refold's data: its encoding is not UTF-8, or the server is too old. Nothing was changed. */
export class UnsuitableDatabaseError extends RefoldError {
  readonly code = 'POSTGRES_UNSUITABLE_DATABASE';

  constructor(problem: string) {
    super(`This database cannot be used: ${problem}`);
  }
}

/** The role of the connection lacks a privilege; nothing was written. */
export class PrivilegeError extends RefoldError {
  readonly code = 'POSTGRES_PRIVILEGE';

  constructor(cause: Error) {
    super(`The database role lacks a privilege: ${cause.message}. Grant it, or use another role`, { cause });
  }
}
