import type { Failure, Partition, PartitionKey, SliceProgress } from '@refold/core';
import { query, type Runner, type Value } from './connection.js';

/** A partition as it is read. */
export interface PartitionRow {
  readonly processor: string;
  readonly generation: number;
  readonly firstslice: number;
  readonly lastslice: number;
  readonly position: string;
  readonly ahead: string | null;
  readonly token: string;
  readonly holder: string | null;
  readonly expires: Date | null;
  readonly failure: string | null;
  readonly crashes: number;
  readonly attempts: string | null;
}

/** What identifies a partition in SQL; its values are those of `partitionKey`. */
export const THIS_PARTITION = 'processor = $1 and generation = $2::int and first_slice = $3::int';

/** Whoever locks several partitions does so in this order, so that nobody waits for another in a circle. */
export const LOCK_ORDER = 'order by processor, generation, first_slice for update';

/** Takes a lease from its holder: whatever carries the token that was is refused from now on. */
export const FENCE = 'token = token + 1, holder = null, lease_expires_at = null';

/** Reads partitions from their table; `rest` is what stands behind its name. */
export function selectPartitions(
  runner: Runner,
  table: string,
  rest: string,
  values: readonly Value[],
): Promise<PartitionRow[]> {
  return query<PartitionRow>(
    runner,
    `select processor, generation, first_slice as firstslice, last_slice as lastslice, position, ahead::text as ahead,
       token, holder, lease_expires_at as expires, failure::text as failure, crashes, attempts::text as attempts
     from ${table} ${rest}`,
    values,
  );
}

export function partitionKey({ processor, generation, firstSlice }: PartitionKey): [string, number, number] {
  return [processor, generation, firstSlice];
}

export function toPartition(row: PartitionRow): Partition {
  return {
    processor: row.processor,
    generation: row.generation,
    firstSlice: row.firstslice,
    lastSlice: row.lastslice,
    position: Number(row.position),
    ahead: toAhead(row.ahead),
    token: Number(row.token),
    holder: row.holder ?? undefined,
    leaseExpiresAt: row.expires ?? undefined,
    failure: row.failure === null ? undefined : toFailure(row.failure),
    crashes: row.crashes,
  };
}

function toFailure(json: string): Failure {
  const stored = JSON.parse(json) as Omit<Failure, 'at'> & { at: string };
  return { ...stored, at: new Date(stored.at) };
}

export function toAhead(json: string | null): SliceProgress[] {
  return json === null ? [] : (JSON.parse(json) as SliceProgress[]);
}
