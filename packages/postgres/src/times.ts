/**
 * Times as milliseconds since the epoch, both ways: what a `timestamptz` is in JavaScript depends on the types of a
 * connection, which a user may have changed.
 */

/** A column, as it is read. */
export function inMilliseconds(column: string): string {
  return `(extract(epoch from ${column}) * 1000)::bigint`;
}

/** A parameter or a column of milliseconds, as a time. */
export function asTime(milliseconds: string): string {
  return `timestamptz 'epoch' + ${milliseconds}::bigint * interval '1 millisecond'`;
}

/** What was read. */
export function toDate(milliseconds: string | null): Date | undefined {
  return milliseconds === null ? undefined : new Date(Number(milliseconds));
}
