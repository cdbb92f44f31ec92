import { toJson, type WorkerPresence } from '@refold/core';
import type { Statements } from './statements.js';

interface WorkerRow {
  name: string;
  processors: string;
  report: string;
}

/** The table of live workers, through one connection. */
export class WorkerTable {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  announce({ name, processors, report }: WorkerPresence, now: number, ttlMs: number): WorkerPresence[] {
    const json = toJson(report, `report of worker "${name}"`);
    this.#statements
      .run(
        `insert into refold_workers (name, processors, report, expires_at) values (?, ?, ?, ?)
         on conflict do update set processors = excluded.processors, report = excluded.report,
           expires_at = excluded.expires_at`,
      )
      .run(name, JSON.stringify(processors), json, Math.ceil(now + ttlMs));
    this.#statements.run('delete from refold_workers where expires_at <= ?').run(now);
    return this.live(now);
  }

  withdraw(name: string): void {
    this.#statements.run('delete from refold_workers where name = ?').run(name);
  }

  live(now: number): WorkerPresence[] {
    const rows = this.#statements
      .objects('select name, processors, report from refold_workers where expires_at > ? order by name')
      .all(now) as WorkerRow[];
    return rows.map(({ name, processors, report }) => ({
      name,
      processors: JSON.parse(processors) as string[],
      report: JSON.parse(report) as unknown,
    }));
  }
}
