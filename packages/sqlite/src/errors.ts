import { RefoldError } from '@refold/core';

/** The file is no SQLite database, or a damaged one. Nothing was written. */
export class CorruptDatabaseError extends RefoldError {
  readonly code = 'SQLITE_CORRUPT_DATABASE';

  constructor(
    readonly file: string,
    cause: unknown,
  ) {
    super(
      `${file} is not an SQLite database, or it is damaged: restore it from a backup, or look at it with "pragma integrity_check"`,
      { cause },
    );
  }
}

/** The file, or the folder it is in, cannot be written. */
export class ReadonlyDatabaseError extends RefoldError {
  readonly code = 'SQLITE_READONLY_DATABASE';

  constructor(
    readonly file: string,
    cause?: unknown,
  ) {
    super(`${file} cannot be written: check the permissions of the file and of its folder`, { cause });
  }
}

/** The file cannot be opened or created. */
export class DatabaseOpenError extends RefoldError {
  readonly code = 'SQLITE_OPEN';

  constructor(
    readonly file: string,
    cause: unknown,
  ) {
    super(`${file} cannot be opened or created: check that its folder exists and that you may use it`, {
      cause,
    });
  }
}

/** The file is a database of another program. Nothing was written. */
export class ForeignDatabaseError extends RefoldError {
  readonly code = 'SQLITE_FOREIGN_DATABASE';

  constructor(readonly file: string) {
    super(`${file} is an SQLite database, but not one of Refold: give Refold a file of its own`);
  }
}

/** The file was written by a newer Refold. Nothing was changed. */
export class NewerDatabaseError extends RefoldError {
  readonly code = 'SQLITE_NEWER_DATABASE';

  constructor(
    readonly file: string,
    readonly found: number,
    readonly known: number,
  ) {
    super(
      `${file} has schema version ${found}, this version of @refold/sqlite knows up to ${known}: update @refold/sqlite`,
    );
  }
}

/** The disk is full; the transaction was undone. */
export class DiskFullError extends RefoldError {
  readonly code = 'SQLITE_DISK_FULL';

  constructor(
    readonly file: string,
    cause: unknown,
  ) {
    super(`The disk of ${file} is full: nothing of this transaction was written`, { cause });
  }
}

/**
 * SQLite has undone the whole transaction in its midst, as SQL that says so makes it ("insert or rollback", "raise
 * (rollback, …)"); nothing of it was written.
 */
export class TransactionUndoneError extends RefoldError {
  readonly code = 'SQLITE_TRANSACTION_UNDONE';

  constructor(cause?: unknown) {
    super(
      `SQLite has undone the transaction, so nothing of it was written${cause instanceof Error ? `: ${cause.message}` : ''}`,
      { cause },
    );
  }
}
