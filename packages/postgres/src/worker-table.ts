import { toJson, type WorkerPresence } from '@refold/core';
import { textArray } from './arrays.js';
import { query, type Runner } from './connection.js';
import type { Schema } from './schema.js';

interface WorkerRow {
  readonly name: string;
  readonly processors: string;
  readonly report: string;
}

const WORKER = 'name, to_json(processors)::text as processors, report::text as report';

/** The table of live workers. The database's clock tells when one expires. */
export class WorkerTable {
  readonly #workers: string;

  constructor(schema: Schema) {
    this.#workers = schema.of('workers');
  }

  /**
   * One statement. It waits for others only while it writes its own row, when it has locked none of theirs, and leaves
   * expired rows that another has locked: so no two can wait for each other.
   */
  async announce(
    runner: Runner,
    { name, processors, report }: WorkerPresence,
    ttlMs: number,
  ): Promise<WorkerPresence[]> {
    const rows = await query<WorkerRow>(
      runner,
      `with own as (
         insert into ${this.#workers} (name, processors, report, expires_at)
         values ($1, $2::text[], $3::text::json, clock_timestamp() + $4::float8 * interval '1 millisecond')
         on conflict (name) do update set processors = excluded.processors, report = excluded.report,
           expires_at = excluded.expires_at
         returning ${WORKER}
       ), expired as (
         select w.name from own cross join ${this.#workers} w
         where w.name <> own.name and w.expires_at <= clock_timestamp() for update of w skip locked
       ), gone as (
         delete from ${this.#workers} w using expired where w.name = expired.name
       )
       select ${WORKER} from ${this.#workers} where name <> $1 and expires_at > clock_timestamp()
       union all select * from own
       order by name`,
      [name, textArray(processors), toJson(report, `report of worker "${name}"`), ttlMs],
    );
    return rows.map(toWorker);
  }

  async withdraw(runner: Runner, name: string): Promise<void> {
    await query(runner, `delete from ${this.#workers} where name = $1`, [name]);
  }

  async live(runner: Runner): Promise<WorkerPresence[]> {
    const rows = await query<WorkerRow>(
      runner,
      `select ${WORKER} from ${this.#workers} where expires_at > clock_timestamp() order by workers.name`,
    );
    return rows.map(toWorker);
  }
}

function toWorker({ name, processors, report }: WorkerRow): WorkerPresence {
  return {
    name,
    processors: JSON.parse(processors) as string[],
    report: JSON.parse(report) as unknown,
  };
}
