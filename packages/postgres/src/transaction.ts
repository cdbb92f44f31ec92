import { TransactionEndedError, UnsupportedError } from '@refold/core';
import type postgres from 'postgres';
import type { Session } from './session.js';

type Savepoint = postgres.TransactionSql['savepoint'];
type Work = (transaction: postgres.TransactionSql) => unknown;

/** A transaction that a session is in. */
export interface OpenTransaction {
  /** What its callback runs statements with. */
  readonly sql: postgres.TransactionSql;
  /** From now on its `sql` refuses statements. */
  readonly end: () => void;
}

/** The transaction that a session has begun, as the driver's type. */
export function transactionOn(session: Session): OpenTransaction {
  let open = true;
  let savepoints = 0;
  const inSavepoint = async (work: Work): Promise<unknown> => {
    const name = `refold_${++savepoints}`;
    await sql.unsafe(`savepoint ${name}`);
    try {
      return await work(sql);
    } catch (error) {
      // Where this fails, so does the commit.
      if (open) await sql.unsafe(`rollback to ${name}`).catch(() => {});
      throw error;
    }
  };
  const savepoint = ((name: string | Work, work?: Work) => inSavepoint(work ?? (name as Work))) as Savepoint;
  const prepare = (): Promise<never> =>
    Promise.reject(new UnsupportedError('two-phase commit', 'commit in one phase'));
  const own = { savepoint, prepare };
  const check = (): void => {
    if (!open) throw new TransactionEndedError();
  };
  const sql: postgres.TransactionSql = new Proxy(Object.assign(session.sql, own), {
    apply(target, self, parameters) {
      check();
      return Reflect.apply(target, self, parameters) as unknown;
    },
    get(target, name) {
      check();
      return Reflect.get(name in own ? own : target, name) as unknown;
    },
  });
  return { sql, end: () => (open = false) };
}
