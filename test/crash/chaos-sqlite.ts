import { sqlProjection, type SqliteUnit } from '@refold/sqlite';
import { amountOf, Moved, Returned } from './chaos-domain.js';
import type { ChaosTarget } from './chaos-target.js';
import { CHAIN_FACTOR, CHAIN_PRIME, type Tally } from './domain.js';
import { beside, sqliteEffects } from './sqlite-effects.js';
import type { ProjectionContext, RecordedEvent } from '@refold/core';

/** One file in a folder of its own, at the default durability. */
export const sqliteChaos: ChaosTarget<SqliteUnit> = {
  ...sqliteEffects,
  disturbances: [],
  reached: async (place) => place,
  disturb: async () => {},

  ledger(options, onHandling) {
    const move = (event: RecordedEvent, { unit, table }: ProjectionContext<SqliteUnit>): void => {
      onHandling(event);
      const ledger = table('ledger');
      const amount = amountOf(event);
      const chain = `((chain * ${CHAIN_FACTOR} + ?) % ${CHAIN_PRIME} + ${CHAIN_PRIME}) % ${CHAIN_PRIME}`;
      unit.run(`insert into ${ledger} values (?, 0, 0, 0) on conflict do nothing`, event.stream);
      unit.run(
        `update ${ledger} set moves = moves + 1, total = total + ?, chain = ${chain} where stream = ?`,
        ...[amount, amount, event.stream],
      );
    };
    return sqlProjection('ledger', {
      ...options,
      tables: {
        ledger: (table) =>
          `create table ${table} (stream text primary key, moves integer, total integer, chain integer) strict`,
      },
    })
      .on(Moved, move)
      .on(Returned, move);
  },

  readLedger: (place) =>
    beside(place, (database) => {
      const rows = database.prepare('select * from ledger').all() as (Tally & { stream: string })[];
      return new Map(rows.map(({ stream, ...tally }) => [stream, tally]));
    }),

  damage: (place) =>
    beside(place, (database) => {
      const found = database.pragma('integrity_check') as { integrity_check: string }[];
      return found.map((row) => row.integrity_check).filter((message) => message !== 'ok');
    }),
};
