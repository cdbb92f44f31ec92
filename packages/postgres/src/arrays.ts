/**
 * Array parameters as PostgreSQL's literals. The driver's own arrays need the types of a connection to be fetched, which a
 * user may have switched off.
 */

/** Text; undefined becomes null. */
export function textArray(values: readonly (string | undefined)[]): string {
  let literal = '{';
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (index > 0) literal += ',';
    literal +=
      value === undefined ? 'NULL' : `"${SPECIAL.test(value) ? value.replace(ALL_SPECIAL, '\\$&') : value}"`;
  }
  return `${literal}}`;
}

/** Numbers, and names that need no quotes, such as UUIDs; undefined becomes null. */
export function plainArray(values: readonly (number | string | undefined)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}

const SPECIAL = /["\\]/;
const ALL_SPECIAL = /["\\]/g;
